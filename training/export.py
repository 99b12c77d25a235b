# SPDX-License-Identifier: Apache-2.0
"""Checkpoint to a Hugging Face folder, and to the GGUF that is embedded.

  export.py --ckpt RUN/ckpt.pt --tokenizer DIR --out DIR [--qaio build/qaio --gguf qaio-mini-zh.gguf]

Weights are stored as float16, which keeps three bits more than bfloat16 (magnitudes are checked); the GGUF
is Q8_0, written by `qaio quantize`.  How replies are sampled goes into generation_config.json and from
there into the GGUF.
"""
import argparse
import json
import os
import shutil
import subprocess

SAMPLING = {"temperature": 0.3, "top_p": 0.8, "repetition_penalty": 1.03}
LARGEST = 1000.0        # far below float16's 65504


def write_json(path, value):
    with open(path, "w", encoding="utf-8") as f:
        json.dump(value, f, ensure_ascii=False, indent=2)
        f.write("\n")


def hf_config(c):
    """config.json of a Config; the three special tokens are the last of the vocabulary."""
    v = c.vocab_size
    return {"architectures": ["Qwen2ForCausalLM"], "attention_dropout": 0.0, "bos_token_id": v - 3, "eos_token_id": v - 1,
            "pad_token_id": v - 3, "hidden_act": "silu", "hidden_size": c.hidden_size, "initializer_range": 0.02,
            "intermediate_size": c.intermediate_size, "max_position_embeddings": c.max_position_embeddings,
            "max_window_layers": c.num_hidden_layers, "model_type": "qwen2", "num_attention_heads": c.num_attention_heads,
            "num_hidden_layers": c.num_hidden_layers, "num_key_value_heads": c.num_key_value_heads,
            "rms_norm_eps": c.rms_norm_eps, "rope_scaling": None, "rope_theta": c.rope_theta, "sliding_window": None,
            "tie_word_embeddings": True, "torch_dtype": "float16", "use_cache": True, "use_sliding_window": False,
            "vocab_size": v}


def write_folder(state, tokenizer, out):
    import torch
    from safetensors.torch import save_file

    from model import Config, Qwen2
    c = Config(**state["config"])
    model = Qwen2(c)
    model.load_state_dict(state["model"])
    weights = model.to_hf()
    largest = max(float(v.abs().max()) for v in weights.values())
    if not largest < LARGEST:
        raise SystemExit(f"export.py: a weight of {largest}: float16 would lose it")
    os.makedirs(out, exist_ok=True)
    save_file({k: v.to(torch.float16) for k, v in weights.items()}, f"{out}/model.safetensors", metadata={"format": "pt"})
    v = c.vocab_size
    write_json(f"{out}/config.json", hf_config(c))
    write_json(f"{out}/generation_config.json", {"bos_token_id": v - 3, "eos_token_id": [v - 1, v - 3], "pad_token_id": v - 3,
                                                 "do_sample": True, **SAMPLING})
    for name in ("tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json"):
        shutil.copy(f"{tokenizer}/{name}", f"{out}/{name}")


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--ckpt", required=True)
    ap.add_argument("--tokenizer", required=True)
    ap.add_argument("--out", required=True, help="the folder to write")
    ap.add_argument("--qaio", help="the program, for --gguf")
    ap.add_argument("--gguf", help="the quantised file to write")
    a = ap.parse_args()
    import torch
    write_folder(torch.load(a.ckpt, weights_only=False, map_location="cpu"), a.tokenizer, a.out)
    if a.gguf:
        subprocess.run([a.qaio, "quantize", a.out, a.gguf, "--type", "q8_0"], check=True)


if __name__ == "__main__":
    main()
