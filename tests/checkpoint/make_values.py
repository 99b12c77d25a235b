#!/usr/bin/env python3
"""Writes tests/golden/checkpoint_values.json: shapes and values of all tensors of the golden models, read without qaio.

safetensors by hand (struct, json, numpy), GGUF by the gguf package.  Made with Python 3.11, numpy 2.4.6, gguf 0.19.0:
    python3 tests/checkpoint/make_values.py
"""
import glob, json, os, struct

import numpy as np
from gguf import GGUFReader, quants

GOLDEN = os.path.join(os.path.dirname(__file__), "..", "golden")


def describe(type_name, shape, values):
    values = values.astype(np.float64).ravel()
    weights = np.arange(values.size) % 97 + 1
    return {"type": type_name.lower(), "shape": [int(n) for n in shape], "first": values[0], "last": values[-1],
            "checksum": float(np.sum(values * weights))}


def safetensors(path):
    with open(path, "rb") as f:
        header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        buffer = f.read()
    for name, t in header.items():
        if name == "__metadata__":
            continue
        raw = buffer[slice(*t["data_offsets"])]
        if t["dtype"] == "BF16":
            values = (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
        else:
            values = np.frombuffer(raw, {"F16": "<f2", "F32": "<f4"}[t["dtype"]])
        yield name, describe(t["dtype"], t["shape"], values)


def main():
    models = {}
    for path in sorted(glob.glob(f"{GOLDEN}/models/[a-g]_*")):
        models[f"models/{os.path.basename(path)}"] = {
            name: t for shard in sorted(glob.glob(f"{path}/*.safetensors")) for name, t in safetensors(shard)}
    for path in sorted(glob.glob(f"{GOLDEN}/gguf/*.gguf")):
        models[f"gguf/{os.path.basename(path)}"] = {
            t.name: describe(t.tensor_type.name, t.shape[::-1], quants.dequantize(t.data, t.tensor_type)) for t in GGUFReader(path).tensors}
    with open(f"{GOLDEN}/checkpoint_values.json", "w") as f:
        json.dump(models, f, indent=0)


main()
