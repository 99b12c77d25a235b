#!/usr/bin/env python3
"""Writes a full-size Qwen checkpoint with random weights: the real shapes and the real tokenizer, for measuring speed and memory.

    make_random_model.py --arch qwen1.5-0.5b --tokenizer DIR --out DIR [--gguf FILE] [--seed 1]

DIR of --tokenizer holds vocab.json, merges.txt and tokenizer_config.json of Qwen2 (any Qwen1.5 or Qwen2 repository has them).  --out gets config.json, the
tokenizer files and model.safetensors (BF16, no framework needed); --gguf additionally the same values as F16 GGUF with the tokenizer inside, which llama.cpp loads and `llama-quantize` converts.
Needs the PyPI packages numpy and, for --gguf, gguf.  Matrices are N(0, 0.02), norms 1 + N(0, 0.02): rounded to BF16 first, so that both files hold the same values to F16 precision.
"""
import argparse, json, os, shutil, struct
import numpy as np

SHAPES = {  # hidden, layers, ffn, heads, kv heads, head_dim, qkv bias, q/k norm
    "qwen1.5-0.5b": dict(type="qwen2", d=1024, L=24, ff=2816, h=16, kv=16, hd=64, bias=True, qknorm=False, ctx=32768),
    "qwen2.5-0.5b": dict(type="qwen2", d=896, L=24, ff=4864, h=14, kv=2, hd=64, bias=True, qknorm=False, ctx=32768),
    "qwen3-0.6b": dict(type="qwen3", d=1024, L=28, ff=3072, h=16, kv=8, hd=128, bias=False, qknorm=True, ctx=40960),
}
VOCAB = 151936


def tensors(s):
    """Yields (safetensors name, GGUF name, shape, kind) in file order; kind is 'matrix', 'norm' or 'bias'."""
    yield "model.embed_tokens.weight", "token_embd.weight", (VOCAB, s["d"]), "matrix"
    for i in range(s["L"]):
        p, g, q, k = f"model.layers.{i}.", f"blk.{i}.", s["h"] * s["hd"], s["kv"] * s["hd"]
        yield p + "input_layernorm.weight", g + "attn_norm.weight", (s["d"],), "norm"
        for n, m, rows in (("q", "attn_q", q), ("k", "attn_k", k), ("v", "attn_v", k)):
            yield p + f"self_attn.{n}_proj.weight", g + m + ".weight", (rows, s["d"]), "matrix"
            if s["bias"]: yield p + f"self_attn.{n}_proj.bias", g + m + ".bias", (rows,), "bias"
        if s["qknorm"]:
            yield p + "self_attn.q_norm.weight", g + "attn_q_norm.weight", (s["hd"],), "norm"
            yield p + "self_attn.k_norm.weight", g + "attn_k_norm.weight", (s["hd"],), "norm"
        yield p + "self_attn.o_proj.weight", g + "attn_output.weight", (s["d"], q), "matrix"
        yield p + "post_attention_layernorm.weight", g + "ffn_norm.weight", (s["d"],), "norm"
        yield p + "mlp.gate_proj.weight", g + "ffn_gate.weight", (s["ff"], s["d"]), "matrix"
        yield p + "mlp.up_proj.weight", g + "ffn_up.weight", (s["ff"], s["d"]), "matrix"
        yield p + "mlp.down_proj.weight", g + "ffn_down.weight", (s["d"], s["ff"]), "matrix"
    yield "model.norm.weight", "output_norm.weight", (s["d"],), "norm"


def to_bf16(x):
    """float32 array -> uint16 bits of bfloat16, round to nearest even."""
    u = x.view(np.uint32)
    return ((u + 0x7FFF + ((u >> 16) & 1)) >> 16).astype(np.uint16)


def values(seed, index, shape, kind):
    r = np.random.default_rng([seed, index]).standard_normal(shape, dtype=np.float32) * np.float32(0.02)
    return to_bf16(r + np.float32(1.0) if kind == "norm" else r)


def write_safetensors(path, s, seed):
    header, at, items = {}, 0, list(tensors(s))
    for name, _, shape, _ in items:
        n = 2 * int(np.prod(shape)); header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, at + n]}; at += n
    head = json.dumps(header).encode(); head += b" " * (-len(head) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(head)) + head)
        for i, (_, _, shape, kind) in enumerate(items): f.write(values(seed, i, shape, kind).tobytes())


def write_gguf(path, s, seed, arch, tok):
    import gguf
    w = gguf.GGUFWriter(path, s["type"]); w.add_name(arch); w.add_context_length(s["ctx"]); w.add_embedding_length(s["d"]); w.add_block_count(s["L"])
    w.add_feed_forward_length(s["ff"]); w.add_head_count(s["h"]); w.add_head_count_kv(s["kv"]); w.add_layer_norm_rms_eps(1e-6); w.add_rope_freq_base(1e6); w.add_file_type(1)
    if s["qknorm"]: w.add_key_length(s["hd"]); w.add_value_length(s["hd"])
    pieces, types = [f"[PAD{i}]" for i in range(VOCAB)], [gguf.TokenType.UNUSED] * VOCAB
    for t, i in json.load(open(f"{tok}/vocab.json", encoding="utf-8")).items(): pieces[i], types[i] = t, gguf.TokenType.NORMAL
    for i, t in enumerate(("<|endoftext|>", "<|im_start|>", "<|im_end|>")): pieces[151643 + i], types[151643 + i] = t, gguf.TokenType.CONTROL
    merges = [l.rstrip("\n") for l in open(f"{tok}/merges.txt", encoding="utf-8") if l.strip() and not l.startswith("#version")]
    w.add_tokenizer_model("gpt2"); w.add_tokenizer_pre("qwen2"); w.add_token_list(pieces); w.add_token_types(types); w.add_token_merges(merges)
    w.add_bos_token_id(151643); w.add_eos_token_id(151645); w.add_add_bos_token(False); w.add_chat_template(json.load(open(f"{tok}/tokenizer_config.json"))["chat_template"])
    for i, (_, name, shape, kind) in enumerate(tensors(s)):
        x = (values(seed, i, shape, kind).astype(np.uint32) << 16).view(np.float32)
        w.add_tensor(name, x.astype(np.float16) if kind == "matrix" else x)
    w.write_header_to_file(); w.write_kv_data_to_file(); w.write_tensors_to_file(); w.close()


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--arch", choices=SHAPES, required=True); a.add_argument("--tokenizer", required=True); a.add_argument("--out", required=True); a.add_argument("--gguf"); a.add_argument("--seed", type=int, default=1)
    a = a.parse_args(); s = SHAPES[a.arch]; os.makedirs(a.out, exist_ok=True)
    cfg = dict(architectures=["Qwen2ForCausalLM" if s["type"] == "qwen2" else "Qwen3ForCausalLM"], model_type=s["type"], hidden_size=s["d"], num_hidden_layers=s["L"], intermediate_size=s["ff"], num_attention_heads=s["h"],
               num_key_value_heads=s["kv"], hidden_act="silu", rms_norm_eps=1e-6, rope_theta=1000000.0, max_position_embeddings=s["ctx"], tie_word_embeddings=True, vocab_size=VOCAB, bos_token_id=151643, eos_token_id=151645, torch_dtype="bfloat16", use_sliding_window=False)
    if s["qknorm"]: cfg.update(head_dim=s["hd"], attention_bias=False)
    json.dump(cfg, open(f"{a.out}/config.json", "w"), indent=1)
    for f in ("vocab.json", "merges.txt", "tokenizer_config.json"): shutil.copy(f"{a.tokenizer}/{f}", a.out)
    write_safetensors(f"{a.out}/model.safetensors", s, a.seed)
    if a.gguf: write_gguf(a.gguf, s, a.seed, a.arch, a.tokenizer)


main()
