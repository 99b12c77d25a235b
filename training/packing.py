# SPDX-License-Identifier: Apache-2.0
"""Endless, resumable streams of examples and their packing into rows."""
import os

import numpy as np


class Source:
    """Shuffled stream of one tokenised source; its state is (epoch, next)."""

    def __init__(self, path, seed, factor=1.0, noise=0.0):
        z = np.load(path)
        self.ids, self.w, self.off, self.factor, self.noise = z["ids"], z["w"], z["off"], factor, noise
        self.fork = z["fork"]
        self.name = os.path.basename(path)[:-4]
        self.seed, self.epoch, self.i = seed, 0, 0
        self.order = None
        frame = set(self.ids[self.off[0]:self.off[1]].tolist())     # tokens that every example holds
        for j in range(min(64, len(self.off) - 1)):
            frame &= set(self.ids[self.off[j]:self.off[j + 1]].tolist())
        self.frame = np.array(sorted(frame))

    def state(self):
        return [self.epoch, self.i]

    def load(self, state):
        self.epoch, self.i = state
        self.order = None

    def next(self):
        """(ids, w, fork) of the next example."""
        n = len(self.off) - 1
        if self.i >= n:
            self.epoch, self.i, self.order = self.epoch + 1, 0, None
        if self.order is None:
            h = sum(ord(ch) * 31 ** k for k, ch in enumerate(self.name)) % 2 ** 31
            self.order = np.random.default_rng([self.seed, self.epoch, h]).permutation(n)
        a, b = self.off[self.order[self.i]], self.off[self.order[self.i] + 1]
        self.i += 1
        ids, w, fork = self.ids[a:b], self.w[a:b].astype(np.float32) * self.factor, self.fork[a:b]
        if self.noise:
            r = np.random.default_rng([self.seed, self.epoch, self.i])
            hit = (r.random(len(ids)) < self.noise) & (w == 0) & ~np.isin(ids, self.frame)
            other = r.choice(self.ids, len(ids))
            ids = np.where(hit & ~np.isin(other, self.frame), other, ids)
        return ids, w, fork


def positions(fork):
    """Every fork goes on where the stem ends."""
    pos, stem = np.arange(len(fork)), np.count_nonzero(fork == 0)
    for n in range(1, fork.max() + 1):
        at = fork == n
        pos[at] = stem + np.arange(np.count_nonzero(at))
    return pos


class Packer:
    """Packs examples of a mix into [rows, width] arrays."""

    def __init__(self, sources, shares, rows, width):
        self.sources, self.rows, self.width = sources, rows, width
        self.shares = np.array(shares, float) / sum(shares)
        self.used = np.zeros(len(sources))      # tokens drawn from each
        self.left = []                          # examples that did not fit

    def state(self):
        return dict(sources={s.name: s.state() for s in self.sources}, used=self.used.tolist(),
                    left=[[x.tolist() for x in e] for e in self.left])

    def load(self, state, same_mix):
        """Goes on where `state` stood; other shares start counting again."""
        for s in self.sources:
            if s.name in state["sources"]:
                s.load(state["sources"][s.name])
        if same_mix:
            self.used = np.array(state["used"])
        self.left = [tuple(map(np.array, e)) for e in state["left"] if len(e) == 3]

    def draw(self):
        k = int(np.argmax(self.shares * (self.used.sum() + 1) - self.used))
        example = self.sources[k].next()
        self.used[k] += len(example[0])
        return tuple(x[:self.width] for x in example)

    def batch(self):
        """ids, pos, example (-1: padding), fork int64 and w float32, each [rows, width]; tokens."""
        shape = (self.rows, self.width)
        ids, pos = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        example, fork, w = np.full(shape, -1, np.int64), np.zeros(shape, np.int64), np.zeros(shape, np.float32)
        fill, count, misfits = [0] * self.rows, 0, []
        queue, self.left = self.left, []
        while len(misfits) < 8:
            e = queue.pop(0) if queue else self.draw()
            n = len(e[0])
            row = min((r for r in range(self.rows) if fill[r] + n <= self.width), key=lambda r: -fill[r], default=None)
            if row is None:
                misfits.append(e)
                continue
            at = slice(fill[row], fill[row] + n)
            ids[row, at], w[row, at], fork[row, at] = e
            pos[row, at], example[row, at] = positions(e[2]), count
            w[row, fill[row]] = 0               # nothing predicts the first token
            fill[row], count = fill[row] + n, count + 1
        self.left = misfits + queue
        return ids, pos, example, fork, w, sum(fill)
