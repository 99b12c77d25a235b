# SPDX-License-Identifier: Apache-2.0
"""Train a Qwen2-shaped model on tokenised sources.

  train.py --run RUN --tok RUN/tok --init MODEL_DIR --mix smile:20,senti:20:2,own_chat:12:1:0.1 --deadline 21:03

An entry of the mix is source:share[:factor[:noise]]: its share of all tokens, a factor on its loss
weights, the probability that a token without loss becomes a random one (against learning small
sources by heart; never the ChatML frame).

RUN receives ckpt.pt and log.jsonl.  The run goes on from RUN/ckpt.pt when there is one: weights,
optimisers, place in every source.  Stop it at any moment (SIGTERM saves first), pause it with
SIGSTOP.  The learning rate rises for --warmup steps, stays, and falls linearly to --final over the
last --decay of the way, which is counted in --steps, or in seconds until --deadline (UTC).  The
order of the data depends on --seed and the sources alone.
"""
import argparse
import contextlib
import datetime
import json
import os
import signal
import time

import numpy as np
import torch

from model import PRESETS, Config, Qwen2
from packing import Packer, Source


def tensors(batch, device, n_targets):
    """A batch as the arguments of Qwen2.loss; n_targets rows for the head (weight 0: unused), or as many as there are."""
    ids, pos, example, fork, w, _ = batch
    t = lambda x: torch.from_numpy(x).to(device)
    e, f = t(example)[:, None], t(fork)[:, None]
    causal = torch.ones(ids.shape[1], ids.shape[1], dtype=torch.bool, device=device).tril()
    # A token sees its own example: the stem and its own fork.
    mask = causal & (e[..., None] == e[..., None, :]) & ((f[..., None, :] == 0) | (f[..., None] == f[..., None, :]))
    target, weight = np.roll(ids, -1, 1), np.roll(w, -1, 1)
    weight[:, -1] = 0
    at = np.flatnonzero(weight)[:n_targets]
    n_targets = n_targets or len(at)
    where, wt = np.zeros(n_targets, np.int64), np.zeros(n_targets, np.float32)
    where[:len(at)], wt[:len(at)] = at, weight.flat[at]
    return t(ids), t(pos), mask, t(where), t(target.flatten()[where]), t(wt)


class Muon(torch.optim.Optimizer):
    """Momentum, then an orthogonalised update (Newton-Schulz, 5 steps) for matrices.

    A fused matrix is cut by rows first (`cuts`: id -> [(from, to)]).  The update has the scale
    lr * 0.2 * sqrt(max(rows, cols)); decay of weights is decoupled.
    """

    def __init__(self, params, cuts, lr, momentum=0.95, decay=0.05):
        super().__init__(params, dict(lr=lr, momentum=momentum, decay=decay))
        self.cuts = cuts

    @staticmethod
    def orthogonalise(g):
        """g [n, r, c] -> nearly orthogonal matrices of the same shape."""
        a, b, c = 3.4445, -4.7750, 2.0315
        x = g.bfloat16() if g.is_cuda else g
        flip = x.shape[-2] > x.shape[-1]
        if flip:
            x = x.mT
        x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
        for _ in range(5):
            s = x @ x.mT
            x = a * x + (b * s + c * s @ s) @ x
        return (x.mT if flip else x).to(g.dtype)

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            jobs = {}
            for p in group["params"]:
                m = self.state[p].setdefault("m", torch.zeros_like(p)).mul_(group["momentum"]).add_(p.grad)
                u = p.grad.add(m, alpha=group["momentum"])
                for lo, hi in self.cuts[id(p)]:
                    jobs.setdefault((hi - lo, p.shape[1]), []).append((p[lo:hi], u[lo:hi]))
            for (r, c), js in jobs.items():
                updates = self.orthogonalise(torch.stack([u for _, u in js]))
                scale = group["lr"] * 0.2 * max(r, c) ** 0.5
                for (p, _), x in zip(js, updates):
                    p.mul_(1 - group["lr"] * group["decay"]).add_(x, alpha=-scale)


def optimisers(model, lr):
    """[Muon for the matrices of the blocks, AdamW for embedding, norms and biases]."""
    c = model.c
    q, kv, f = c.num_attention_heads * c.head_dim, c.num_key_value_heads * c.head_dim, c.intermediate_size
    mats, cuts = [], {}
    for b in model.blocks:
        for layer, sizes in ((b.wqkv, [q, kv, kv]), (b.wo, [c.hidden_size]), (b.wgu, [f, f]), (b.wd, [c.hidden_size])):
            ends = np.cumsum([0] + sizes).tolist()
            mats.append(layer.weight)
            cuts[id(layer.weight)] = list(zip(ends[:-1], ends[1:]))
    rest = [p for p in model.parameters() if id(p) not in cuts]
    adam = [dict(params=[p for p in rest if p.ndim > 1], weight_decay=0.01),
            dict(params=[p for p in rest if p.ndim == 1], weight_decay=0.0)]
    return [Muon(mats, cuts, lr), torch.optim.AdamW(adam, lr=lr, betas=(0.9, 0.95), eps=1e-9)]


def from_gguf(path):
    """Weights of a Qwen2 GGUF under transformers' names, dequantised."""
    from gguf import GGUFReader, dequantize
    names = {"token_embd": "embed_tokens", "output_norm": "norm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
             "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
             "ffn_down": "mlp.down_proj", "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}
    out = {}
    for t in GGUFReader(path).tensors:
        *block, name, kind = t.name.split(".")
        layer = f"layers.{block[1]}." if block else ""
        out[f"model.{layer}{names[name]}.{kind}"] = torch.from_numpy(np.array(dequantize(t.data, t.tensor_type), np.float32))
    return out


def initial(model, path):
    """Weights of a checkpoint (.pt), of a GGUF (.gguf, what ships) or of a Hugging Face folder."""
    if path.endswith(".gguf"):
        model.load_hf(from_gguf(path))
    elif os.path.isdir(path):
        from safetensors.torch import load_file
        model.load_hf(load_file(f"{path}/model.safetensors"))
    else:
        model.load_state_dict(torch.load(path, weights_only=False, map_location="cpu")["model"])


def seconds_until(hhmm):
    now = datetime.datetime.now(datetime.timezone.utc)
    end = now.replace(hour=int(hhmm[:2]), minute=int(hhmm[3:]), second=0, microsecond=0)
    if (now - end).total_seconds() > 12 * 3600:
        end += datetime.timedelta(days=1)
    return (end - now).total_seconds()


def arguments():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--run", required=True)
    ap.add_argument("--tok", required=True, help="folder of the sources")
    ap.add_argument("--preset", default="cpu-5m", choices=sorted(PRESETS))
    ap.add_argument("--vocab", type=int, default=7168, help="rows of the embedding")
    ap.add_argument("--mix", required=True, help="source:share[:factor[:noise]],...")
    ap.add_argument("--init", help="weights to start from: ckpt.pt, a .gguf or a Hugging Face folder")
    ap.add_argument("--rows", type=int, default=16)
    ap.add_argument("--width", type=int, default=256)
    ap.add_argument("--targets", type=float, default=1.0, help="with --compile: share of positions with room in the head")
    ap.add_argument("--lr", type=float, default=2e-3)
    ap.add_argument("--warmup", type=int, default=40, help="steps")
    ap.add_argument("--decay", type=float, default=1.0)
    ap.add_argument("--final", type=float, default=0.0, help="last rate / peak rate")
    ap.add_argument("--deadline", help="HH:MM UTC")
    ap.add_argument("--steps", type=int)
    ap.add_argument("--compile", action="store_true")
    ap.add_argument("--save-every", type=float, default=120, help="seconds")
    ap.add_argument("--seed", type=int, default=1)
    return ap.parse_args()


class Run:
    """Everything that a checkpoint holds."""

    def __init__(self, a):
        self.a, self.path = a, f"{a.run}/ckpt.pt"
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        torch.manual_seed(a.seed)
        mix = [x.split(":") for x in a.mix.split(",")]
        self.packer = Packer([Source(f"{a.tok}/{m[0]}.npz", a.seed, *map(float, m[2:])) for m in mix],
                             [float(m[1]) for m in mix], a.rows, a.width)
        config = Config(vocab_size=a.vocab, max_position_embeddings=max(512, a.width), **PRESETS[a.preset])
        self.model = Qwen2(config)
        self.step, self.tokens, self.seconds = 0, 0, 0.0
        state = torch.load(self.path, weights_only=False, map_location="cpu") if os.path.exists(self.path) else None
        if a.init and not state:
            initial(self.model, a.init)
        self.model.to(self.device)
        self.opts = optimisers(self.model, a.lr)
        if state:
            self.resume(state)
        self.began = time.time() - self.seconds
        self.end = self.began + self.seconds + seconds_until(a.deadline) if a.deadline else None

    def resume(self, state):
        self.model.load_state_dict(state["model"])
        for o, s in zip(self.opts, state["opt"]):
            o.load_state_dict(s)
        self.packer.load(state["data"], state["args"]["mix"] == self.a.mix)
        self.step, self.tokens, self.seconds = state["step"], state["tokens"], state["seconds"]
        print("goes on at step", self.step, flush=True)

    def save(self):
        torch.save(dict(model=self.model.state_dict(), opt=[o.state_dict() for o in self.opts],
                        data=self.packer.state(), config=self.model.c.dict(), step=self.step, tokens=self.tokens,
                        seconds=time.time() - self.began, args=vars(self.a)), self.path + ".new")
        os.replace(self.path + ".new", self.path)

    def way(self):
        """How much of the run is done, 0 to 1."""
        if self.a.steps:
            return self.step / self.a.steps
        return (time.time() - self.began) / (self.end - self.began)

    def set_rate(self, way):
        a = self.a
        rate = a.lr * min(1.0, (self.step + 1) / a.warmup) * \
            (a.final + (1 - a.final) * min(1.0, (1 - way) / max(a.decay, 1e-6)))
        for o in self.opts:
            for g in o.param_groups:
                g["lr"] = rate
        return rate

    def update(self, loss_fn):
        """One step; the mean loss of its targets in nats."""
        batch = self.packer.batch()
        # A compiled loss wants one shape.
        args = tensors(batch, self.device, int(self.a.rows * self.a.width * self.a.targets) if self.a.compile else None)
        with torch.autocast("cuda", torch.bfloat16) if self.device == "cuda" else contextlib.nullcontext():
            loss = loss_fn(*args) / args[-1].sum().clamp(min=1)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for o in self.opts:
            o.step()
            o.zero_grad(set_to_none=True)
        self.step, self.tokens = self.step + 1, self.tokens + batch[-1]
        return float(loss.detach())


def main():
    a = arguments()
    if not a.deadline and not a.steps:
        raise SystemExit("train.py: --steps or --deadline says when the run ends")
    os.makedirs(a.run, exist_ok=True)
    run = Run(a)
    print(f"{sum(p.numel() for p in run.model.parameters()) / 1e6:.2f} M parameters on {run.device}", flush=True)
    loss_fn = torch.compile(run.model.loss) if a.compile else run.model.loss
    stop = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(True))
    losses, tokens0, since, saved = [], run.tokens, time.time(), time.time()
    with open(f"{a.run}/log.jsonl", "a", encoding="utf-8") as log:
        while run.way() < 1 and not stop:
            way = run.way()
            rate = run.set_rate(way)
            losses.append(run.update(loss_fn))
            if len(losses) == 20:
                line = json.dumps(dict(step=run.step, tokens=run.tokens, loss=round(sum(losses) / 20, 4), rate=round(rate, 6),
                                       way=round(way, 4), tokens_per_s=round((run.tokens - tokens0) / (time.time() - since))))
                print(line, flush=True)
                log.write(line + "\n")
                log.flush()
                losses, tokens0, since = [], run.tokens, time.time()
            if time.time() - saved > a.save_every:
                run.save()
                saved = time.time()
    run.save()
    print("done", run.step, run.tokens, {s.name: [round(u), s.epoch] for s, u in zip(run.packer.sources, run.packer.used)})


if __name__ == "__main__":
    main()
