"""The article's stack as a process of its own: transformers_server.py MODEL TYPE THREADS PORT answers {"messages", "n"} with n generated tokens."""
import http.server
import json
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

MODEL, TYPE, THREADS, PORT = sys.argv[1:]
torch.set_num_threads(int(THREADS))
tokenizer = AutoTokenizer.from_pretrained(MODEL)
model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=getattr(torch, TYPE))
model.eval()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        text = tokenizer.apply_chat_template(request["messages"], tokenize=False, add_generation_prompt=True)
        inputs = tokenizer(text, return_tensors="pt")
        with torch.no_grad():
            out = model.generate(**inputs, min_new_tokens=request["n"], max_new_tokens=request["n"], do_sample=False, pad_token_id=0)
        answer = tokenizer.decode(out[0][inputs["input_ids"].shape[1]:], skip_special_tokens=True)
        body = json.dumps({"text": answer}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


http.server.HTTPServer(("127.0.0.1", int(PORT)), Handler).serve_forever()
