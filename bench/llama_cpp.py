"""llama.cpp and the models of the comparison, made once in the user's cache directory."""
import json
import os
import pathlib
import subprocess
import sys

from peers import CACHE, HERE, ROOT, run, say

PACKAGE = "llama-cpp-python==0.3.36"
PROGRAMS = ["llama-bench", "llama-batched-bench", "llama-server", "llama-quantize"]
QUANTIZE = {"q8_0": ["Q8_0"], "q4_0": ["Q4_0"], "q4_0-pure": ["Q4_0"], "q4_k_m": ["Q4_K_M"], "bf16": ["BF16"], "f16": None}


def python():
    """A Python with pip's numpy and gguf."""
    venv = CACHE / "venv"
    if not (venv / "bin" / "python").exists():
        say("making", venv)
        run([sys.executable, "-m", "venv", venv])
    if subprocess.run([venv / "bin" / "python", "-c", "import numpy, gguf"], capture_output=True).returncode:
        run([venv / "bin" / "pip", "install", "-q", "numpy", "gguf"])
    return venv / "bin" / "python"


def build():
    """The directory of llama.cpp's programs, built from the source inside the PyPI package: about ten minutes on two cores."""
    target = CACHE / "llama.cpp"
    if all((target / "bin" / name).exists() for name in PROGRAMS):
        return target / "bin"
    CACHE.mkdir(parents=True, exist_ok=True)
    source = CACHE / PACKAGE.replace("llama-cpp-python==", "llama_cpp_python-")
    if not source.exists():
        say("fetching", PACKAGE)
        run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:", "-d", CACHE, PACKAGE])
        run(["tar", "xzf", next(CACHE.glob("llama_cpp_python-*.tar.gz")), "-C", CACHE])
    say("building llama.cpp (once)")
    run(["cmake", "-S", source / "vendor" / "llama.cpp", "-B", target, "-DCMAKE_BUILD_TYPE=Release", "-DGGML_NATIVE=ON", "-DLLAMA_BUILD_TESTS=OFF",
         "-DLLAMA_BUILD_EXAMPLES=OFF", "-DLLAMA_CURL=OFF"])
    run(["cmake", "--build", target, "-j", str(os.cpu_count()), "--target", *PROGRAMS])
    return target / "bin"


def byte_letters():
    """The letters that stand for the 256 bytes in byte-level BPE, in GPT-2's order."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [chr(b) for b in plain] + [chr(256 + i) for i in range(256 - len(plain))]


def tokenizer():
    """Qwen2's tokenizer as files: its vocabulary is the bytes followed by what each merge makes."""
    out = CACHE / "tokenizer"
    if (out / "tokenizer_config.json").exists():
        return out
    out.mkdir(parents=True, exist_ok=True)
    merges = (ROOT / "tests" / "golden" / "tokenizer" / "merges.txt").read_text(encoding="utf-8")
    pieces = byte_letters() + [line.replace(" ", "") for line in merges.splitlines() if line and not line.startswith("#version")]
    (out / "merges.txt").write_text(merges, encoding="utf-8")
    (out / "vocab.json").write_text(json.dumps({piece: i for i, piece in enumerate(pieces)}, ensure_ascii=False), encoding="utf-8")
    special = {str(151643 + i): {"content": text, "special": True} for i, text in enumerate(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])}
    template = ("{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}"
                "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")
    config = {"added_tokens_decoder": special, "chat_template": template, "eos_token": "<|im_end|>", "tokenizer_class": "Qwen2Tokenizer"}
    (out / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return out


def checkpoint(shape):
    """A directory of safetensors with random weights; beside it the same values as F16 GGUF."""
    directory = CACHE / "models" / shape
    gguf = CACHE / "models" / f"{shape}-f16.gguf"
    if not (directory / "model.safetensors").exists() or not gguf.exists():
        say("making", directory)
        run([python(), HERE / "make_random_model.py", "--arch", shape, "--tokenizer", tokenizer(), "--out", directory, "--gguf", gguf])
    return directory


def model(shape, kind, programs):
    """A GGUF of this kind, quantised by llama.cpp."""
    path = CACHE / "models" / f"{shape}-{kind}.gguf"
    if not path.exists():
        checkpoint(shape)
        say("making", path)
        options = ["--pure"] if kind.endswith("-pure") else []
        run([pathlib.Path(programs) / "llama-quantize", *options, CACHE / "models" / f"{shape}-f16.gguf", path, *QUANTIZE[kind]])
    return path
