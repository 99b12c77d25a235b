#!/usr/bin/env python3
"""check_gguf.py FILE.gguf [--source DIR] [--type q8_0]: reads a GGUF file that qaio wrote with the gguf package, not with qaio.

The keys must be those of llama.cpp's converter; with --source the tensors, tokenizer and template must be those of the transformers
directory the file was written from.  Needs numpy and gguf (pip install gguf).  Prints one line; exit 1 with the reason otherwise.
"""
import argparse, glob, json, os, struct, sys

import numpy as np
from gguf import GGUFReader, TokenType, quants

FILE_TYPES = {"f32": 0, "f16": 1, "q4_0": 2, "q8_0": 7, "bf16": 32}
LAYER_NAMES = {
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm", "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
SIZES = {
    "hidden_size": "embedding_length", "num_hidden_layers": "block_count", "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv", "intermediate_size": "feed_forward_length",
    "max_position_embeddings": "context_length"}
# Largest error of a block of 32 by the largest value in it: half a step, and the rounding of the scale to f16.
RELATIVE_ERROR = {"F32": 0, "F16": 2**-11 * 1.001, "BF16": 2**-8 * 1.001, "Q8_0": 0.5 / 127 + 2**-10, "Q4_0": 1 / 8 + 2**-9}


def require(condition, message):
    if not condition:
        sys.exit(f"check_gguf: {message}")


def gguf_name(name):
    top = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight", "lm_head.weight": "output.weight"}
    if name in top:
        return top[name]
    _, _, layer, rest = name.split(".", 3)
    stem, kind = rest.rsplit(".", 1)
    return f"blk.{layer}.{LAYER_NAMES[stem]}.{kind}"


def read_safetensors(path):
    buffer = np.memmap(path, np.uint8, "r")
    size = struct.unpack("<Q", buffer[:8].tobytes())[0]
    for name, t in json.loads(buffer[8:8 + size].tobytes()).items():
        if name == "__metadata__":
            continue
        begin, end = (8 + size + offset for offset in t["data_offsets"])
        raw = buffer[begin:end].tobytes()
        if t["dtype"] == "BF16":
            values = (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
        else:
            values = np.frombuffer(raw, {"F16": "<f2", "F32": "<f4"}[t["dtype"]]).astype(np.float32)
        yield name, values.reshape(t["shape"])


def check_keys(get, reader, type_name):
    arch = get("general.architecture")
    require(arch in ("qwen2", "qwen3"), f"architecture {arch}")
    require(get("tokenizer.ggml.model") == "gpt2" and get("tokenizer.ggml.pre") in ("qwen2", "qwen35"), "tokenizer model or pre")
    require(get("tokenizer.ggml.add_bos_token") is False, "add_bos_token")
    require(isinstance(get("general.name"), str) and get("general.quantization_version") == 2, "general keys")
    if type_name:
        require(get("general.file_type") == FILE_TYPES[type_name], f"file_type {get('general.file_type')}")
    tokens, types = get("tokenizer.ggml.tokens"), get("tokenizer.ggml.token_type")
    require(len(tokens) == len(types) == len(set(tokens)), "tokens and token_type disagree, or a token is there twice")
    rows = next(t for t in reader.tensors if t.name == "token_embd.weight").shape[1]
    require(len(tokens) == rows, f"{len(tokens)} tokens for {rows} rows")
    for name in list(reader.fields):
        require(name.split(".")[0] in ("GGUF", "general", "tokenizer", "qaio", arch), f"unexpected key {name}")


def check_tensors(reader, source):
    tensors = {t.name: t for t in reader.tensors}
    tied = "output.weight" not in tensors
    seen = 0
    for path in sorted(glob.glob(f"{source}/*.safetensors")):
        for name, values in read_safetensors(path):
            if name == "lm_head.weight" and tied:
                continue
            t = tensors[gguf_name(name)]
            require(tuple(t.shape[::-1]) == values.shape, f"{t.name}: shape {t.shape}")
            back = quants.dequantize(t.data, t.tensor_type).reshape(values.shape)
            block = 32 if t.tensor_type.name.startswith("Q") else 1
            largest = np.abs(values).reshape(-1, block).max(1, keepdims=True)
            # F16 and Q scales have an absolute error below 2^-14.
            limit = RELATIVE_ERROR[t.tensor_type.name] * largest + (2**-24 if t.tensor_type.name not in ("F32", "BF16") else 0)
            require((np.abs(back - values).reshape(-1, block) <= limit).all(), f"{t.name}: values differ")
            seen += 1
    require(seen == len(tensors), f"{len(tensors)} tensors, the source has {seen}")


def read_vocabulary(source):
    """pieces by id, added tokens by id -> special, merges."""
    if os.path.exists(f"{source}/tokenizer.json"):
        t = json.load(open(f"{source}/tokenizer.json"))
        added = {a["id"]: (a["content"], a["special"]) for a in t["added_tokens"]}
        merges = [m if isinstance(m, str) else " ".join(m) for m in t["model"]["merges"]]
        return t["model"]["vocab"], added, merges
    config = json.load(open(f"{source}/tokenizer_config.json"))
    added = {int(i): (a["content"], a["special"]) for i, a in config["added_tokens_decoder"].items()}
    merges = [m for m in open(f"{source}/merges.txt", encoding="utf-8").read().split("\n") if m and not m.startswith("#version")]
    return json.load(open(f"{source}/vocab.json")), added, merges


def check_tokenizer(get, source):
    vocabulary, added, merges = read_vocabulary(source)
    tokens, types = get("tokenizer.ggml.tokens"), get("tokenizer.ggml.token_type")
    for piece, i in vocabulary.items():
        require(i in added or (tokens[i] == piece and types[i] == TokenType.NORMAL), f"token {i}")
    for i, (piece, special) in added.items():
        require(tokens[i] == piece and types[i] == (TokenType.CONTROL if special else TokenType.USER_DEFINED), f"added token {i}")
    used = set(vocabulary.values()) | set(added)
    for i in range(len(tokens)):
        require(i in used or types[i] == TokenType.UNUSED, f"padding {i}")
    require(get("tokenizer.ggml.merges") == merges, "merges")


def check_config(get, source):
    config = json.load(open(f"{source}/config.json"))
    for key, name in SIZES.items():
        require(get(f"{config['model_type']}.{name}") == config[key], key)
    generation = f"{source}/generation_config.json"
    eos = (json.load(open(generation)) if os.path.exists(generation) else config).get("eos_token_id", config.get("eos_token_id"))
    require(get("tokenizer.ggml.eos_token_id") == (eos[0] if isinstance(eos, list) else eos), "eos_token_id")
    jinja, text = f"{source}/chat_template.jinja", None
    if os.path.exists(jinja):
        text = open(jinja, encoding="utf-8", newline="").read()
    elif os.path.exists(f"{source}/tokenizer_config.json"):
        text = json.load(open(f"{source}/tokenizer_config.json")).get("chat_template")
    require(get("tokenizer.chat_template") == text, "chat_template")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("file")
    parser.add_argument("--source")
    parser.add_argument("--type", choices=FILE_TYPES)
    args = parser.parse_args()
    reader = GGUFReader(args.file)
    values = {name: field.contents() for name, field in reader.fields.items()}
    check_keys(values.get, reader, args.type)
    if args.source:
        check_config(values.get, args.source)
        check_tokenizer(values.get, args.source)
        check_tensors(reader, args.source)
    print(f"{args.file}: {values['general.architecture']}, {len(reader.tensors)} tensors, {len(values)} keys: right")


main()
