#!/usr/bin/python3
"""golden.py - golden states of the engine: an independent float64 PyTorch program in another formulation than the C code.

Every architecture is written over the whole row of tokens with explicit T x T masks: no segment loop, no memory matrix, no ring.
  infini         normalised linear attention over the tokens of all earlier segments; for the delta rules the values that each token
                 has really written, w_t = v_t - sum_a f(k_t).f(k_a) w_a / (sum_a gamma_a f(k_t).f(k_a) + eps), token sums only
  transformer_xl one pass with a block mask; rows of earlier segments enter through detached copies of the layer inputs
  memorizing     dense attention over all earlier tokens of the document with a top-k mask
  compressive    one pass over tokens and all groups of tokens with masks; reconstruction by detached tensors
  rnn            torch.nn.LSTM and torch.nn.GRU over each document
  linear_attention
                 the parallel form: products of features under the causal mask, over their row sums
  delta_rule     what each token writes is the solution of one dense triangular system over the whole row, w = beta (v - D * (K K^T) w)
                 with the mask of the document; no state, no chunks; the short convolution is torch.nn.functional.conv1d over each document
  rmt, autocompressor
                 all segments at once with their memory rows, in sweeps: each sweep reads what the sweep before wrote; after as many sweeps as
                 segments nothing changes any more
Parameters and inputs come from a formula that tests/support/engine.c shares: value i of NAME = offset + scale * u(NAME, i).

  scripts/golden.py            writes tests/golden/NAME.safetensors
  scripts/golden.py --check    computes everything again and compares; exit 1 on a difference
"""
import json
import math
import os
import struct
import sys

import numpy as np
import torch

FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "golden")
FORMAT = "infinibench-golden-1"
MASK64 = (1 << 64) - 1
VOCAB, D, FFN, EPS, BASE, MEM_EPS = 17, 32, 24, 1e-5, 10000.0, 1e-6

# name: architecture, its options, layers, heads, kv_heads, head_dim, segment, segments
GOLDENS = {
    "transformer_full": ("transformer", {"window": 0}, 2, 4, 4, 8, 8, 4),
    "transformer_window": ("transformer", {"window": 8}, 2, 4, 2, 8, 8, 4),
    "transformer_xl": ("transformer_xl", {"cache": 8}, 2, 4, 4, 8, 8, 4),
    # segments of 16, so that T5 buckets beyond the 16 exact ones are reached
    "memorizing": ("memorizing", {"memory": 16, "topk": 5}, 2, 4, 4, 8, 16, 4),
    "infini_none": ("infini", {"update": "none"}, 2, 4, 4, 8, 8, 4),
    "infini_linear": ("infini", {"update": "linear"}, 2, 4, 4, 8, 8, 4),
    "infini_delta": ("infini", {"update": "delta"}, 2, 4, 4, 8, 8, 4),
    # short segments, so that some gammas lie inside (0, 1)
    "infini_delta_gamma": ("infini", {"update": "delta_gamma"}, 2, 2, 2, 16, 2, 8),
    "infini_gqa": ("infini", {"update": "linear"}, 2, 4, 2, 8, 8, 4),
    "rmt": ("rmt", {"memory_tokens": 3}, 2, 4, 4, 8, 8, 4),
    "rmt_bptt": ("rmt", {"memory_tokens": 2, "bptt": 1}, 2, 4, 4, 8, 8, 4),
    "compressive": ("compressive", {"cache": 8, "compressed": 6, "rate": 2}, 2, 4, 2, 8, 8, 4),
    "compressive_long": ("compressive", {"cache": 16, "compressed": 4, "rate": 4, "reconstruction": 0.5}, 2, 4, 4, 8, 8, 4),
    # rows of the segment itself leave a cache that is shorter than it
    "compressive_short": ("compressive", {"cache": 4, "compressed": 6, "rate": 2}, 2, 4, 4, 8, 8, 4),
    "compressive_max": ("compressive", {"cache": 8, "compressed": 6, "rate": 2, "compress": "max"}, 2, 4, 4, 8, 8, 4),
    "rnn_lstm": ("rnn", {"cell": "lstm"}, 2, 4, 4, 8, 8, 4),
    "rnn_gru": ("rnn", {"cell": "gru"}, 2, 4, 4, 8, 8, 4),
    "linear_attention": ("linear_attention", {}, 2, 4, 2, 8, 8, 4),
    "delta_rule_sum": ("delta_rule", {"features": "sum"}, 2, 4, 4, 8, 8, 4),
    "delta_rule_l2": ("delta_rule", {"features": "l2"}, 2, 4, 2, 8, 8, 4),
    "delta_rule_gated": ("delta_rule", {"features": "l2", "gated": "yes"}, 2, 4, 4, 8, 8, 4),
    # a convolution longer than a segment
    "delta_rule_conv": ("delta_rule", {"features": "l2", "conv_size": 4}, 1, 4, 2, 8, 2, 8),
    "autocompressor": ("autocompressor", {"summary": 2, "kept": 2, "cut": 100}, 2, 4, 4, 8, 8, 4),
    "autocompressor_cut": ("autocompressor", {"summary": 2, "kept": 3, "cut": 2}, 2, 4, 4, 8, 8, 4),
    "autocompressor_last": ("autocompressor", {"summary": 2, "kept": 1, "cut": 100}, 2, 4, 4, 8, 8, 4),
}


# ---- the formula ----

def fnv1a64(name):
    h = 0xCBF29CE484222325
    for c in name.encode():
        h = ((h ^ c) * 0x100000001B3) & MASK64
    return h


def uniform(name, n):
    """u in [-1, 1): 53 bits of splitmix64(fnv1a64(name) + i)."""
    with np.errstate(over="ignore"):
        x = np.uint64(fnv1a64(name)) + np.arange(n, dtype=np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x = x ^ (x >> np.uint64(31))
    return (x >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1.0


def offset_and_scale(name):
    last = name.split(".")[-1]
    return {"norm1": (1, 0.1), "norm2": (1, 0.1), "final_norm": (1, 0.1), "embed": (0, 1), "beta": (0, 1), "qk_scale": (3, 1),
            "memory_gate": (0, 1), "rel_bias": (0, 1), "u": (0, 0.5), "v": (0, 0.5),
            "memory_init": (0, 1), "memory_norm": (1, 0.1), "summary_embed": (0, 1), "summary_norm": (1, 0.1), "head_norm": (1, 0.1)}.get(last, (0, 0.3))


def parameter(name, *shape):
    offset, scale = offset_and_scale(name)
    return torch.tensor(offset + scale * uniform(name, int(np.prod(shape))).reshape(shape), dtype=torch.float64, requires_grad=True)


def parameters(arch, options, layers, H, G, E):
    p = {"embed": (VOCAB, D), "head": (VOCAB, D), "final_norm": (1, D)}
    if arch == "rmt":
        p.update(memory_init=(options["memory_tokens"], D), memory_norm=(1, D))
    if arch == "autocompressor":
        p.update(summary_embed=(options["summary"], D), summary_norm=(1, D))
    for l in range(layers):
        own = {"norm1": (1, D), "norm2": (1, D), "wq": (H * E, D), "wk": (G * E, D), "wv": (G * E, D), "wo": (D, H * E),
               "w_gate": (FFN, D), "w_up": (FFN, D), "w_down": (D, FFN)}
        if arch == "infini" and options["update"] != "none":
            own["beta"] = (1, H)
        if arch == "compressive" and "compress" not in options:
            own["compress"] = (D, options["rate"] * D)
        if arch == "delta_rule":
            own["w_beta"] = (G, D)
            if options.get("gated") == "yes":
                own.update(w_decay=(G, D), log_rate=(1, G), step_bias=(1, G))
            if "conv_size" in options:
                K = options["conv_size"]
                own.update(conv_q=(K, H * E), conv_k=(K, G * E), conv_v=(K, G * E))
            if options["features"] == "l2":
                own["head_norm"] = (1, E)
        if arch in ("transformer_xl", "compressive"):
            own.update(wr=(H * E, D), u=(1, H * E), v=(1, H * E))
        if arch == "rnn":
            if options["cell"] == "lstm":
                own["w_output_gate"] = (H * E, D)
            own.update(w_hh=((4 if options["cell"] == "lstm" else 3) * H * E, H * E), bias=(4, H * E))
        if arch == "memorizing":
            own.update(qk_scale=(1, H), rel_bias=(H, 32))
            if l == knn_layer(layers):
                own["memory_gate"] = (1, H)
        p.update({f"layers.{l}.{k}": s for k, s in own.items()})
    return {k: parameter(k, *s) for k, s in p.items()}


def knn_layer(layers):
    return max(math.floor(0.75 * layers) - 1, 0)


# ---- inputs: row 0 changes the document in the middle (after a partial segment), row 1 ends in a partial segment ----

def inputs(N, S):
    since = np.zeros((2, S), np.int32)
    length = np.full((2, S), N, np.int32)
    since[0] = [N * (s % (S // 2)) for s in range(S)]
    since[1] = [N * s for s in range(S)]
    length[0, S // 2 - 1] = max(1, N - 2)
    length[1, S - 1] = max(1, (5 * N) // 8)
    T = N * S
    symbol = (1 + np.floor((uniform("tokens", 2 * T) + 1) / 2 * (VOCAB - 1))).astype(np.int32).reshape(2, T)
    weight = (0.5 * np.floor((uniform("weights", 2 * T) + 1) * 1.5) + 0.5).reshape(2, T)  # 0.5, 1, 1.5
    tokens, targets = np.zeros((2, T), np.int32), np.full((2, T), -1, np.int32)
    for b in range(2):
        for t in range(T):
            s, i = divmod(t, N)
            if i >= length[b, s]:
                weight[b, t] = 0
                continue
            tokens[b, t] = 0 if since[b, s] + i == 0 else symbol[b, t]
            last = i + 1 == length[b, s] and (s + 1 == S or since[b, s + 1] == 0)
            targets[b, t] = 0 if last else symbol[b, t + 1]
    return since, length, tokens, targets, weight


# ---- the model over one row ----

def rms_norm(x, w):
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + EPS) * w


def heads_of(x, n):
    return x.reshape(x.shape[0], n, -1).transpose(0, 1)  # [n, T, E]


def rotate(x, pos):
    """By complex multiplication: component e and E/2 + e are real and imaginary part."""
    half = x.shape[-1] // 2
    angle = torch.tensor(pos, dtype=torch.float64)[:, None] * BASE ** (-2 * torch.arange(half, dtype=torch.float64) / x.shape[-1])
    z = torch.complex(x[..., :half], x[..., half:]) * torch.polar(torch.ones_like(angle), angle)
    return torch.cat([z.real, z.imag], -1)


def softmax_over(score, mask):
    return torch.softmax(torch.where(mask, score, torch.tensor(-math.inf, dtype=score.dtype)), -1)


def t5_bucket(distance):
    exact, last, furthest = 16, 31, 128
    if distance < exact:
        return distance
    return min(last, exact + int(math.log(distance / exact) / math.log(furthest / exact) * (last + 1 - exact)))


class Row:
    """Geometry of one batch row: for each token its segment's start, its document's start; masks are [T, T], query by key."""

    def __init__(self, N, S, since):
        self.N, self.T = N, N * S
        t = np.arange(self.T)
        self.start = t // N * N
        self.document = self.start - since[t // N]
        self.in_segment, self.in_document = t - self.start, t - self.document
        q, k = t[:, None], t[None, :]
        self.distance = q - k
        self.causal = (k <= q) & (k >= self.document[:, None])
        self.own = self.causal & (k >= self.start[:, None])
        self.earlier = self.causal & (k < self.start[:, None])
        self.near = lambda back: self.causal & (k >= self.start[:, None] - back)


def mask(m):
    return torch.tensor(m)


def transformer(row, o, p, l, x, h, q, k, v, scale):
    visible = row.causal if o["window"] == 0 else row.causal & (row.distance < o["window"])
    q, k = rotate(q, row.in_document), rotate(k, row.in_document)
    return softmax_over(q @ k.transpose(1, 2) * scale, mask(visible)) @ v


def infini(row, o, p, l, x, h, q, k, v, scale):
    local = softmax_over(rotate(q, row.in_segment) @ rotate(k, row.in_segment).transpose(1, 2) * scale, mask(row.own)) @ v
    if o["update"] == "none":
        return local
    f = lambda y: torch.nn.functional.elu(y) + 1
    fk = f(k)
    qk = f(q) @ fk.transpose(1, 2) * mask(row.earlier)
    kk = fk @ fk.transpose(1, 2) * mask(row.earlier)
    written, gamma = v, torch.ones(fk.shape[:2], dtype=torch.float64)
    if o["update"] != "linear":
        written = [None] * row.T
        gammas = [None] * row.T
        for t in range(row.T):  # tokens of one segment depend on earlier segments only
            w = torch.stack(written[:row.start[t]], 1) if row.start[t] else torch.zeros_like(v[:, :0])
            c = torch.stack(gammas[:row.start[t]], 1) if row.start[t] else torch.zeros_like(v[:, :0, 0])
            line = kk[:, t, :row.start[t]]
            seen = (line * c).sum(1)
            written[t] = v[:, t] - (line[:, :, None] * w).sum(1) / (seen + MEM_EPS)[:, None]
            gammas[t] = torch.ones_like(seen)
            if o["update"] == "delta_gamma":
                gammas[t] = (1 - seen / (fk[:, t] ** 2).sum(1)).clamp(0, 1).detach()
        written, gamma = torch.stack(written, 1), torch.stack(gammas, 1)
        row.gamma.append(gamma)
    memory = qk @ written / ((qk * gamma[:, None]).sum(-1, keepdim=True) + MEM_EPS)
    g = torch.sigmoid(p[f"layers.{l}.beta"]).reshape(-1, 1, 1)
    return g * memory + (1 - g) * local


def transformer_xl(row, o, p, l, x, h, q, k, v, scale):
    P = lambda name: p[f"layers.{l}.{name}"]
    H = q.shape[0]
    cached = rms_norm(x.detach(), P("norm1"))
    kc, vc = heads_of(cached @ P("wk").T, k.shape[0]), heads_of(cached @ P("wv").T, v.shape[0])
    delta = torch.arange(row.T, dtype=torch.float64)[:, None] * 10000.0 ** (-2 * torch.arange(D // 2, dtype=torch.float64) / D)
    r = heads_of(torch.cat([torch.sin(delta), torch.cos(delta)], 1) @ P("wr").T, H)
    u, w = heads_of(P("u"), H), heads_of(P("v"), H)
    by_distance = (q + w) @ r.transpose(1, 2)
    index = torch.tensor(np.maximum(row.distance, 0)).expand(H, -1, -1)
    own = mask(row.own)
    content = torch.where(own, (q + u) @ k.transpose(1, 2), (q + u) @ kc.transpose(1, 2))
    a = softmax_over((content + torch.gather(by_distance, 2, index)) * scale, mask(row.near(o["cache"])))
    return (a * own) @ v + (a * ~own) @ vc


def compressive(row, o, p, l, x, h, q, k, v, scale):
    P = lambda name: p[f"layers.{l}.{name}"]
    H, c, m = q.shape[0], o["rate"], o["cache"]
    groups = x.detach().reshape(row.T // c, c, D)
    groups = groups.amax(1) if o.get("compress") == "max" else groups.reshape(-1, c * D) @ P("compress").T
    read = lambda rows, w, stop: heads_of(rms_norm(rows, stop(P("norm1"))) @ stop(P(w)).T, P(w).shape[0] // q.shape[2])
    wide = lambda y: y.repeat_interleave(H // y.shape[0], 0)
    both = torch.cat([groups.detach(), x.detach()])
    kc, vc = (wide(read(both, w, lambda y: y)) for w in ("wk", "wv"))
    # Columns: all groups, all tokens; the place of a column before the segment's start, by the order in which rows are stored.
    start, t = row.start[:, None], np.arange(row.T)[:, None]
    g, a = np.arange(row.T // c)[None, :], np.arange(row.T)[None, :]
    left = (start - m) // c - g  # 1: the newest group that has left the cache
    sees_group = (left >= 1) & (left <= o["compressed"]) & (g * c >= row.document[:, None])
    sees = np.concatenate([sees_group, row.near(m)], 1)
    distance = np.concatenate([t - start + m + left, row.distance], 1)
    delta = torch.arange(int(distance.max()) + 1, dtype=torch.float64)[:, None]
    delta = delta * 10000.0 ** (-2 * torch.arange(D // 2, dtype=torch.float64) / D)
    r = heads_of(torch.cat([torch.sin(delta), torch.cos(delta)], 1) @ P("wr").T, H)
    u, w = heads_of(P("u"), H), heads_of(P("v"), H)
    index = torch.tensor(np.maximum(distance, 0)).expand(H, -1, -1)
    own = mask(np.concatenate([np.zeros_like(sees_group), row.own], 1))
    pad = torch.zeros(H, row.T // c, q.shape[2], dtype=torch.float64)
    k, v = torch.cat([pad, k], 1), torch.cat([pad, v], 1)
    content = torch.where(own, (q + u) @ k.transpose(1, 2), (q + u) @ kc.transpose(1, 2))
    score = content + torch.gather((q + w) @ r.transpose(1, 2), 2, index)
    weight = softmax_over(score * scale, mask(sees))
    stop, N = lambda y: y.detach(), row.N
    frozen = heads_of(h.detach() @ P("wq").detach().T, H)
    for s in range(row.T // N):
        if "compress" in o or row.length[s] < N or s * N - row.document[s * N] < m:
            continue
        old, heads = slice(s * N - m, s * N - m + N), frozen[:, s * N:(s + 1) * N]
        outputs = []
        for rows in (x.detach()[old], groups[old.start // c:old.stop // c]):
            keys, values = (wide(read(rows, name, stop)) for name in ("wk", "wv"))
            outputs.append(torch.softmax(heads @ keys.transpose(1, 2) * scale, -1) @ values)
        row.extra.append(((outputs[0] - outputs[1]) ** 2).sum() / (2 * row.T * o["layers"]) * o.get("reconstruction", 1))
    return (weight * own) @ v + (weight * ~own) @ vc


def memorizing(row, o, p, l, x, h, q, k, v, scale):
    P = lambda name: p[f"layers.{l}.{name}"]
    unit = lambda y: y * torch.rsqrt((y * y).sum(-1, keepdim=True) + 1e-6)
    q, k = unit(q) * P("qk_scale").reshape(-1, 1, 1), unit(k)
    kd, vd = k.detach(), v.detach()
    bucket = torch.tensor([[t5_bucket(max(int(d), 0)) for d in line] for line in row.distance])
    own = mask(row.own)
    score = torch.where(own, q @ k.transpose(1, 2), q @ kd.transpose(1, 2)) + P("rel_bias")[:, bucket]
    a = softmax_over(score, mask(row.near(row.N)))
    local = (a * own) @ v + (a * ~own) @ vd
    if l != knn_layer(int(o["layers"])):
        return local
    bank = row.earlier & (np.arange(row.T)[None, :] >= row.start[:, None] - o["memory"])
    dense = (q @ kd.transpose(1, 2)).masked_fill(~mask(bank), -math.inf)
    # Equal tokens have equal keys in the first layer: exactly k hits, of equals the older (equal up to the order of the sum).
    order = torch.sort(torch.round(dense.detach() * 1e9), dim=-1, descending=True, stable=True).indices[..., :o["topk"]]
    hit = mask(bank) & torch.zeros_like(dense, dtype=torch.bool).scatter(-1, order, True)
    some = mask(bank.any(1))[:, None]
    hits = torch.where(some, torch.softmax(dense.masked_fill(~(hit | ~some), -math.inf).masked_fill(~some, 0.0), -1) @ vd,
                       torch.zeros((), dtype=torch.float64))
    g = torch.sigmoid(P("memory_gate")).reshape(-1, 1, 1)
    return g * hits + (1 - g) * local


def rnn(row, o, p, l, x, h, q, k, v, scale):
    """The library's own layer, its two biases per gate from ours: the LSTM's second is 0, the GRU's differ in n alone."""
    P = lambda name: p[f"layers.{l}.{name}"]
    width, lstm = P("w_hh").shape[1], o["cell"] == "lstm"
    names = ["wq", "wk", "wv"] + (["w_output_gate"] if lstm else [])
    b, zero = P("bias"), torch.zeros(width, dtype=torch.float64)
    layer = (torch.nn.LSTM if lstm else torch.nn.GRU)(h.shape[1], width).double()
    # What the layer computes with; tensors with a history, which its parameters cannot be.
    layer._flat_weights = [torch.cat([P(n) for n in names]), P("w_hh"),
                           torch.cat([b[0], b[1] + 1, b[2], b[3]] if lstm else [b[0], b[1], b[3]]),
                           torch.cat([zero] * 4 if lstm else [zero, zero, b[2]])]
    starts = sorted(set(row.document)) + [row.T]
    out = [layer(h[start:end])[0] for start, end in zip(starts, starts[1:])]
    return heads_of(torch.cat(out), q.shape[0])


def linear_attention(row, o, p, l, x, h, q, k, v, scale):
    f = lambda y: torch.nn.functional.elu(y) + 1
    weight = f(q) @ f(k).transpose(1, 2) * mask(row.causal)
    return weight @ v / (weight.sum(-1, keepdim=True) + MEM_EPS)


def short_conv(row, heads, weight, x):
    """The library's own convolution over each document, padded on the left; as the heads that `heads` are."""
    K, width = weight.shape
    starts = sorted(set(row.document)) + [row.T]
    y = [torch.nn.functional.conv1d(torch.nn.functional.pad(x[a:b].T, (K - 1, 0)), weight.T[:, None, :], groups=width).T
         for a, b in zip(starts, starts[1:])]
    y = heads_of(torch.nn.functional.silu(torch.cat(y)), width // heads.shape[2])
    return y.repeat_interleave(heads.shape[0] // y.shape[0], 0)


def delta_rule(row, o, p, l, x, h, q, k, v, scale):
    P = lambda name: p[f"layers.{l}.{name}"]
    if "conv_size" in o:
        q, k, v = (short_conv(row, y, P(name), h @ P(w).T) for y, name, w in ((q, "conv_q", "wq"), (k, "conv_k", "wk"), (v, "conv_v", "wv")))
    for_queries = lambda y: y.T.repeat_interleave(q.shape[0] // P("w_beta").shape[0], 0)  # [T, G] -> [H, T]
    if o["features"] == "l2":
        f = lambda y: y / torch.sqrt((y * y).sum(-1, keepdim=True) + MEM_EPS)
    else:
        f = lambda y: (torch.nn.functional.elu(y) + 1) / (torch.nn.functional.elu(y) + 1).sum(-1, keepdim=True)
    q, k, decay = f(q), f(k), torch.zeros(q.shape[:2], dtype=torch.float64)
    beta = for_queries(torch.sigmoid(h @ P("w_beta").T))[:, :, None]
    if o.get("gated") == "yes":
        step = torch.nn.functional.softplus(h @ P("w_decay").T + P("step_bias"))
        decay = for_queries(-torch.exp(P("log_rate")) * step)
    c = torch.cumsum(decay, 1)
    visible = mask(row.causal)
    kept = torch.exp(torch.where(visible, c[:, :, None] - c[:, None, :], torch.tensor(-math.inf, dtype=torch.float64)))
    before = torch.tril(k @ k.transpose(1, 2) * kept, -1)
    written = torch.linalg.solve(torch.eye(row.T, dtype=torch.float64) + beta * before, beta * v)
    out = (q @ k.transpose(1, 2) * kept * scale) @ written
    return rms_norm(out, P("head_norm")) if o["features"] == "l2" else out


MIXERS = {"transformer": transformer, "infini": infini, "transformer_xl": transformer_xl, "memorizing": memorizing, "rnn": rnn,
          "compressive": compressive, "linear_attention": linear_attention, "delta_rule": delta_rule}


def decoder(row, arch, options, p, layers, H, G, E, tokens):
    x = p["embed"][torch.tensor(tokens, dtype=torch.int64)]
    for l in range(layers):
        P = lambda name: p[f"layers.{l}.{name}"]
        h = rms_norm(x, P("norm1"))
        q = heads_of(h @ P("wq").T, H)
        k, v = (heads_of(h @ P(w).T, G).repeat_interleave(H // G, 0) for w in ("wk", "wv"))
        out = MIXERS[arch](row, dict(options, layers=layers), p, l, x, h, q, k, v, E**-0.5)
        x = x + out.transpose(0, 1).reshape(row.T, H * E) @ P("wo").T
        h = rms_norm(x, P("norm2"))
        x = x + (torch.nn.functional.silu(h @ P("w_gate").T) * (h @ P("w_up").T)) @ P("w_down").T
    return rms_norm(x, p["final_norm"]) @ p["head"].T


def with_memory_rows(row, arch, o, p, layers, H, G, E, tokens):
    """Blocks [read; segment; write] one after the other; a pair of rows is visible within a block as the paper's mask has it. The
    gradient ends at the first segment of every block of `cut` (rmt: bptt + 1) segments."""
    S, N = row.T // row.N, row.N
    x0 = p["embed"][torch.tensor(tokens, dtype=torch.int64)].reshape(S, N, D)
    age = [int(row.in_document[s * N]) // N for s in range(S)]  # segments of the document before
    written = [None] * S  # what each segment has written in the sweep before
    norm = p["memory_norm" if arch == "rmt" else "summary_norm"]
    block_length = o["bptt"] + 1 if "bptt" in o else o.get("cut", S)
    for _ in range(S):
        read, write = [], []
        seen = lambda w, s: written[w].detach() if w < s // block_length * block_length else written[w]
        for s in range(S):
            if arch == "rmt":
                before = [p["memory_init"] if age[s] == 0 or written[s - 1] is None else seen(s - 1, s)]
                write.append(before[0])
            else:
                before = [seen(w, s) for w in range(s - min(age[s], o["kept"]), s) if written[w] is not None]
                write.append(p["summary_embed"])
            read.append(torch.cat(before) if before else x0[s, :0])
        x = torch.cat([torch.cat([read[s], x0[s], write[s]]) for s in range(S)])
        sizes = [(len(read[s]), N, len(write[s])) for s in range(S)]
        block = np.concatenate([np.full(sum(z), s) for s, z in enumerate(sizes)])
        place = np.concatenate([np.arange(sum(z)) for z in sizes])
        kind = np.concatenate([np.repeat([0, 1, 2], z) for z in sizes])
        same = (kind[:, None] == kind[None, :]) & (kind[:, None] != 1)
        visible = (block[:, None] == block[None, :]) & ((place[None, :] <= place[:, None]) | same)
        for l in range(layers):
            P = lambda name: p[f"layers.{l}.{name}"]
            h = rms_norm(x, P("norm1"))
            q, k, v = heads_of(h @ P("wq").T, H), heads_of(h @ P("wk").T, G), heads_of(h @ P("wv").T, G)
            a = softmax_over(rotate(q, place) @ rotate(k, place).transpose(1, 2) * E**-0.5, mask(visible)) @ v
            x = x + a.transpose(0, 1).reshape(len(x), H * E) @ P("wo").T
            h = rms_norm(x, P("norm2"))
            x = x + (torch.nn.functional.silu(h @ P("w_gate").T) * (h @ P("w_up").T)) @ P("w_down").T
        written = [rms_norm(x[torch.tensor((block == s) & (kind == 2))], norm) for s in range(S)]
    return rms_norm(x[torch.tensor(kind == 1)], p["final_norm"]) @ p["head"].T


def compute(name):
    arch, options, layers, H, G, E, N, S = GOLDENS[name]
    p = parameters(arch, options, layers, H, G, E)
    since, length, tokens, targets, weight = inputs(N, S)
    logits, loss, extra, gammas = [], 0, 0, []
    for b in range(2):
        row = Row(N, S, since[b])
        row.gamma, row.extra, row.length = [], [], length[b]
        logits.append((decoder if arch in MIXERS else with_memory_rows)(row, arch, options, p, layers, H, G, E, tokens[b]))
        scored = targets[b] >= 0
        target = torch.tensor(targets[b][scored], dtype=torch.int64)
        nll = torch.nn.functional.cross_entropy(logits[b][scored], target, reduction="none")
        loss = loss + (nll * torch.tensor(weight[b][scored])).sum() / weight.sum()
        gammas += [g.flatten() for g in row.gamma]
        extra = extra + sum(row.extra)
    if options.get("update") == "delta_gamma":
        g = torch.cat(gammas)
        inside = int(((g > 0.01) & (g < 0.99)).sum())
        assert inside >= 5, f"only {inside} gammas inside (0, 1)"
    (loss + extra).backward()
    tensors = {"tokens": tokens, "targets": targets, "since": since, "len": length, "weights": weight.astype(np.float32),
               "logits": torch.stack(logits).detach().numpy().astype(np.float32)}
    for k, t in p.items():
        assert torch.isfinite(t.grad).all(), k
        tensors["grad." + k] = t.grad.numpy().astype(np.float32)
    meta = {"format": FORMAT, "architecture": arch, "options": " ".join(f"{k}={v}" for k, v in sorted(options.items())),
            "shape": f"layers={layers} d_model={D} heads={H} kv_heads={G} head_dim={E} ffn={FFN} segment={N} segments={S} batch=2 "
                     f"vocab={VOCAB} norm_eps={EPS:g} rope_base={BASE:g} tied=no equal_parameters=no",
            "segment": str(N), "segments": str(S), "batch": "2", "vocab": str(VOCAB), "loss": repr(float(loss)),
            "formula": "u(splitmix64(fnv1a64(name)+i)), offset and scale by name: scripts/golden.py",
            "versions": f"python {sys.version.split()[0]}, torch {torch.__version__}, numpy {np.__version__}"}
    return tensors, meta


# ---- safetensors by hand ----

DTYPES = {np.dtype(np.float32): "F32", np.dtype(np.int32): "I32"}


def write(path, tensors, meta):
    header, at = {"__metadata__": meta}, 0
    for k, a in tensors.items():
        header[k] = {"dtype": DTYPES[a.dtype], "shape": list(a.shape), "data_offsets": [at, at + a.nbytes]}
        at += a.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path + ".tmp", "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(np.ascontiguousarray(a).tobytes() for a in tensors.values()))
    os.replace(path + ".tmp", path)


def read(path):
    data = open(path, "rb").read()
    n = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + n])
    meta, tensors = header.pop("__metadata__"), {}
    for k, d in header.items():
        dtype = {v: t for t, v in DTYPES.items()}[d["dtype"]]
        tensors[k] = np.frombuffer(data[8 + n + d["data_offsets"][0]:8 + n + d["data_offsets"][1]], dtype).reshape(d["shape"])
    return tensors, meta


def differences(name, path):
    tensors, meta = compute(name)
    if not os.path.exists(path):
        return [f"{path} is missing"]
    old, old_meta = read(path)
    bad = [f"metadata {k}: {old_meta.get(k)!r} in the file, {v!r} now" for k, v in meta.items()
           if k not in ("versions", "loss") and old_meta.get(k) != v]
    if not abs(float(old_meta["loss"]) - float(meta["loss"])) <= 1e-10:
        bad.append(f"loss: {old_meta['loss']} in the file, {meta['loss']} now")
    if sorted(old) != sorted(tensors):
        return bad + ["other tensors: " + " ".join(sorted(set(old) ^ set(tensors)))]
    for k, a in tensors.items():
        if old[k].shape != a.shape:
            bad.append(f"{k}: shape {old[k].shape} in the file, {a.shape} now")
            continue
        error, largest = np.abs(old[k].astype(np.float64) - a).max(), np.abs(a.astype(np.float64)).max()
        if not error <= 2e-7 * largest:
            bad.append(f"{k}: differs by {error:g}, largest {largest:g}")
    return bad


def main():
    if sys.argv[1:] not in ([], ["--check"]):
        print(__doc__)
        return 2
    torch.set_num_threads(1)
    failed = 0
    os.makedirs(FOLDER, exist_ok=True)
    for name in GOLDENS:
        path = os.path.normpath(os.path.join(FOLDER, name + ".safetensors"))
        if sys.argv[1:]:
            bad = differences(name, path)
            failed += len(bad) > 0
            print(f"{name}: " + ("; ".join(bad) if bad else "equal"))
        else:
            tensors, meta = compute(name)
            write(path, tensors, meta)
            print(f"{path}: loss {float(meta['loss']):.6f}, {os.path.getsize(path)} bytes")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
