# SPDX-License-Identifier: Apache-2.0
"""Qwen2 decoder in plain PyTorch, small enough to train on two CPU cores.

The arithmetic is that of transformers' Qwen2ForCausalLM (RMSNorm in float32,
half-split RoPE, SwiGLU, biases on q/k/v only, grouped-query attention, tied
embeddings).  q/k/v and gate/up are held as one fused matrix each, which is
faster on a CPU; `to_hf` / `from_hf` split and join them.
"""
from dataclasses import asdict, dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F


@dataclass
class Config:
    """Sizes of the model; head_dim is hidden_size // num_attention_heads."""
    vocab_size: int = 7168
    hidden_size: int = 256
    intermediate_size: int = 704
    num_hidden_layers: int = 6
    num_attention_heads: int = 4
    num_key_value_heads: int = 2
    max_position_embeddings: int = 512
    rope_theta: float = 10000.0
    rms_norm_eps: float = 1e-6

    @property
    def head_dim(self):
        return self.hidden_size // self.num_attention_heads

    def dict(self):
        return asdict(self)


# Presets by name.  `test` is for the smoke run, cpu-* were measured on 2 cores of AMD Zen 4; gpu-* are for
# one recent CUDA GPU (see README.md).
PRESETS = {
    "test": dict(hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1),
    "cpu-5m": dict(hidden_size=256, intermediate_size=768, num_hidden_layers=4),
    "cpu-6m": dict(hidden_size=256, intermediate_size=704, num_hidden_layers=6),
    "cpu-8m": dict(hidden_size=320, intermediate_size=832, num_hidden_layers=6,
                   num_attention_heads=5, num_key_value_heads=1),
    "gpu-30m": dict(hidden_size=512, intermediate_size=1408, num_hidden_layers=10,
                    num_attention_heads=8, num_key_value_heads=2),
    "gpu-60m": dict(hidden_size=640, intermediate_size=1728, num_hidden_layers=14,
                    num_attention_heads=10, num_key_value_heads=2),
}


class RMSNorm(nn.Module):
    """x / rms(x) * weight over the last axis, computed in float32."""

    def __init__(self, dim, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.eps = eps

    def forward(self, x):
        return F.rms_norm(x.float(), (x.shape[-1],), self.weight, self.eps)


def rope_tables(length, head_dim, theta, device=None):
    """cos and sin, each [length, head_dim], float32; angle in radians."""
    inv = 1.0 / theta ** (torch.arange(0, head_dim, 2, device=device).float() / head_dim)
    ang = torch.outer(torch.arange(length, device=device).float(), inv)
    ang = torch.cat((ang, ang), dim=-1)
    return ang.cos(), ang.sin()


def rotate(x, cos, sin):
    """Half-split rotary embedding; x [B, T, H, D], cos/sin [B, T, 1, D]."""
    a, b = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-b, a), dim=-1) * sin


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        d, hd = c.hidden_size, c.head_dim
        self.nq, self.nkv = c.num_attention_heads, c.num_key_value_heads
        self.norm1 = RMSNorm(d, c.rms_norm_eps)
        self.norm2 = RMSNorm(d, c.rms_norm_eps)
        self.wqkv = nn.Linear(d, (self.nq + 2 * self.nkv) * hd, bias=True)
        self.wo = nn.Linear(self.nq * hd, d, bias=False)
        self.wgu = nn.Linear(d, 2 * c.intermediate_size, bias=False)
        self.wd = nn.Linear(c.intermediate_size, d, bias=False)

    def forward(self, x, cos, sin, mask):
        B, T, _ = x.shape
        nq, nkv, hd = self.nq, self.nkv, self.c.head_dim
        qkv = self.wqkv(self.norm1(x)).view(B, T, nq + 2 * nkv, hd)
        qk = rotate(qkv[:, :, :nq + nkv], cos, sin).to(qkv.dtype)
        q = qk[:, :, :nq].transpose(1, 2)
        k = qk[:, :, nq:].transpose(1, 2)
        v = qkv[:, :, nq + nkv:].transpose(1, 2)
        g = nq // nkv
        if g > 1:
            k = k.repeat_interleave(g, dim=1)
            v = v.repeat_interleave(g, dim=1)
        if mask is None:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = x + self.wo(y.transpose(1, 2).reshape(B, T, nq * hd))
        g, u = self.wgu(self.norm2(x)).chunk(2, dim=-1)
        return x + self.wd(F.silu(g) * u)


class Qwen2(nn.Module):
    """Causal LM.  `forward` gives hidden states; `loss` the weighted CE."""

    def __init__(self, c):
        super().__init__()
        self.c = c
        self.embed = nn.Embedding(c.vocab_size, c.hidden_size)
        self.blocks = nn.ModuleList(Block(c) for _ in range(c.num_hidden_layers))
        self.norm = RMSNorm(c.hidden_size, c.rms_norm_eps)
        cos, sin = rope_tables(c.max_position_embeddings, c.head_dim, c.rope_theta)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        self.reset()

    def reset(self):
        """Normal init, std 0.02; output projections scaled by 1/sqrt(2L)."""
        std, n = 0.02, 2 * self.c.num_hidden_layers
        nn.init.normal_(self.embed.weight, std=std)
        for b in self.blocks:
            for w in (b.wqkv, b.wo, b.wgu, b.wd):
                nn.init.normal_(w.weight, std=std / n ** 0.5 if w in (b.wo, b.wd) else std)
            nn.init.zeros_(b.wqkv.bias)

    def forward(self, ids, pos=None, mask=None):
        """ids, pos [B, T] int; mask [B, 1, T, T] bool (True = may attend).

        Returns hidden states [B, T, hidden_size] after the last norm.
        """
        if pos is None:
            pos = torch.arange(ids.shape[1], device=ids.device).expand(ids.shape)
        cos, sin = self.cos[pos].unsqueeze(2), self.sin[pos].unsqueeze(2)
        x = self.embed(ids)
        for b in self.blocks:
            x = b(x, cos, sin, mask)
        return self.norm(x)

    def logits(self, h):
        """[..., hidden_size] -> [..., vocab_size]."""
        return F.linear(h, self.embed.weight)

    def loss(self, ids, pos, mask, where, target, weight):
        """Sum of weight * cross entropy (nats) at the flat positions `where`.

        where, target, weight: [N]; only these rows go through the head.
        """
        h = self(ids, pos, mask).flatten(0, 1)[where]
        ce = F.cross_entropy(self.logits(h).float(), target, reduction="none")
        return (ce * weight).sum()

    def to_hf(self):
        """State dict under transformers' Qwen2ForCausalLM names (tied head omitted)."""
        c, out = self.c, {}
        q, kv, f = c.num_attention_heads * c.head_dim, c.num_key_value_heads * c.head_dim, c.intermediate_size
        out["model.embed_tokens.weight"] = self.embed.weight
        for i, b in enumerate(self.blocks):
            p = f"model.layers.{i}."
            for n, s in (("q", slice(0, q)), ("k", slice(q, q + kv)), ("v", slice(q + kv, q + 2 * kv))):
                out[p + f"self_attn.{n}_proj.weight"] = b.wqkv.weight[s]
                out[p + f"self_attn.{n}_proj.bias"] = b.wqkv.bias[s]
            out[p + "self_attn.o_proj.weight"] = b.wo.weight
            out[p + "mlp.gate_proj.weight"] = b.wgu.weight[:f]
            out[p + "mlp.up_proj.weight"] = b.wgu.weight[f:]
            out[p + "mlp.down_proj.weight"] = b.wd.weight
            out[p + "input_layernorm.weight"] = b.norm1.weight
            out[p + "post_attention_layernorm.weight"] = b.norm2.weight
        out["model.norm.weight"] = self.norm.weight
        return {k: v.detach().contiguous().clone() for k, v in out.items()}

    def load_hf(self, state):
        """Takes the weights of a state dict as `to_hf` gives it."""
        join = lambda p, names, kind: torch.cat([state[f"{p}{n}.{kind}"] for n in names])
        own = {"embed.weight": state["model.embed_tokens.weight"], "norm.weight": state["model.norm.weight"]}
        for i in range(self.c.num_hidden_layers):
            p, b = f"model.layers.{i}.", f"blocks.{i}."
            qkv = [f"self_attn.{n}_proj" for n in "qkv"]
            own[b + "wqkv.weight"], own[b + "wqkv.bias"] = join(p, qkv, "weight"), join(p, qkv, "bias")
            own[b + "wo.weight"] = state[p + "self_attn.o_proj.weight"]
            own[b + "wgu.weight"] = join(p, ("mlp.gate_proj", "mlp.up_proj"), "weight")
            own[b + "wd.weight"] = state[p + "mlp.down_proj.weight"]
            own[b + "norm1.weight"] = state[p + "input_layernorm.weight"]
            own[b + "norm2.weight"] = state[p + "post_attention_layernorm.weight"]
        self.load_state_dict({k: v.float() for k, v in own.items()})
