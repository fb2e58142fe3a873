"""common.py - what the peers share: shapes, initial values, timing, and the check that a peer is the same model as ours.

A peer is a class with
    __init__(shape, parameters, training, options)   parameters: {name of docs/tensors.md: float32 array}
    logits(tokens)            int array [B, T] -> float32 [B, T, V], state at its initial value
    gradients(tokens, targets)   (loss, {name: float32 array}), state at its initial value, no clipping
    step(tokens, targets)     one training step with clipping, AdamW and carried state; returns the loss as a number
    parameters()              {name: float32 array}
"""
import json
import math
import os
import random
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

import numpy as np

from shapes import ARCHITECTURES, PRESETS


@dataclass
class Shape:
    layers: int
    d: int
    heads: int
    e: int
    ffn: int
    segment: int
    segments: int
    batch: int
    vocab: int
    arch: str
    norm_eps: float = 1e-5
    rope_base: float = 10000.0
    memory_eps: float = 1e-6
    relu: bool = False  # two matrices with ReLU instead of SwiGLU

    @property
    def memory(self):
        return self.arch in ("infini-linear", "infini-delta")

    @property
    def tokens(self):
        return self.segment * self.segments

    def tensors(self):
        d, q = self.d, self.heads * self.e
        out = {"embed": (self.vocab, d), "head": (self.vocab, d), "final_norm": (d,)}
        for i in range(self.layers):
            own = {"norm1": (d,), "norm2": (d,), "wq": (q, d), "wk": (q, d), "wv": (q, d), "wo": (d, q), "w_gate": (self.ffn, d),
                   "w_up": (self.ffn, d), "w_down": (d, self.ffn)}
            if self.relu:
                own.pop("w_gate")
            if self.memory:
                own["beta"] = (self.heads,)
            out.update({f"layers.{i}.{k}": v for k, v in own.items()})
        return out


@dataclass
class Training:
    lr: float = 1e-4
    decay: float = 0.1
    b1: float = 0.9
    b2: float = 0.95
    eps: float = 1e-8
    clip: float = 1.0
    gate_rate: float = 10.0


def kind_of(name):
    """weight: decays; norm: does not; gate: does not, and learns gate_rate times as fast."""
    last = name.split(".")[-1]
    return "gate" if last == "beta" else "norm" if "norm" in last else "weight"


def initial(shape, seed=1):
    r = np.random.default_rng(seed)
    out = {}
    for name, s in shape.tensors().items():
        kind = kind_of(name)
        x = r.standard_normal(s) / math.sqrt(s[-1]) if kind == "weight" else np.full(s, kind == "norm")
        out[name] = x.astype(np.float32)
    return out


# ---- timing ----

def measure(peer, shape, seconds, warmup, report):
    """Median time of a step over random letters; each step has tokens of its own."""
    r = np.random.default_rng(5)
    batches = []
    for _ in range(8):
        text = r.integers(1, shape.vocab, (shape.batch, shape.tokens + 1))
        batches.append((text[:, :-1].copy(), text[:, 1:].copy()))
    start = time.perf_counter()
    for i in range(warmup):
        peer.step(*batches[i % 8])
    ready = time.perf_counter()
    times, cpu = [], time.process_time()
    while len(times) < 5 or (time.perf_counter() - ready < seconds and len(times) < 1000):
        before = time.perf_counter()
        loss = peer.step(*batches[len(times) % 8])
        times.append(time.perf_counter() - before)
    if not math.isfinite(loss):
        sys.exit("the loss is not finite: no figure")
    step = statistics.median(times)
    used = (time.process_time() - cpu) / len(times)
    print(json.dumps(dict(report, arch=shape.arch, tokens_per_second=shape.batch * shape.tokens / step, step_ms=1e3 * step,
                          fastest_ms=1e3 * min(times), cpu_ms=1e3 * used, steps=len(times), warmup_seconds=ready - start, loss=loss)),
          flush=True)


# ---- the same model as ours ----

def read_safetensors(path):
    with open(path, "rb") as f:
        data = f.read()
    n = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + n])
    header.pop("__metadata__", None)
    out = {}
    for k, d in header.items():
        if d["dtype"] != "F32":
            sys.exit(f"{path}: tensor {k} is {d['dtype']}, F32 was expected")
        a, b = d["data_offsets"]
        out[k] = np.frombuffer(data[8 + n + a:8 + n + b], np.float32).reshape(d["shape"]).copy()
    return out


def relative(a, b):
    """Largest difference over the largest value of b."""
    return float(np.abs(a.astype(np.float64) - b).max() / max(np.abs(b).max(), 1e-30))


class Ours:
    """Our program on four made-up documents: each fills one row of the batch for three training steps."""

    def __init__(self, program, preset, arch, folder):
        self.program, self.folder, self.arch = os.path.abspath(program), folder, arch
        values = PRESETS[preset]
        self.shape = Shape(*values, arch)
        n = 3 * self.shape.tokens + 1
        r = random.Random(7)
        self.texts = ["".join(chr(r.randrange(1, 128)) for _ in range(n)) for _ in range(self.shape.batch)]
        for split in ("train", "validation", "test"):
            os.makedirs(f"{folder}/corpus/{split}", exist_ok=True)
            for i, t in enumerate(self.texts):
                with open(f"{folder}/corpus/{split}/{i}.txt", "w", newline="") as f:
                    f.write(t)
        name, _, update = arch.partition("-")
        self.row = f"architecture = {name}\n" + (f"update = {update}\n" if update else "")
        self.preset = preset

    def call(self, *words):
        env = dict(os.environ, OMP_NUM_THREADS="1")
        env.pop("LD_PRELOAD", None)
        env.pop("LD_LIBRARY_PATH", None)
        done = subprocess.run([self.program, "--quiet", *words], cwd=self.folder, capture_output=True, text=True, env=env)
        if done.returncode:
            sys.exit(f"{' '.join(words)}: {done.stderr.strip()}")

    def train(self, steps, **options):
        """Parameters after `steps` steps."""
        text = "".join(f"{k} = {v}\n" for k, v in options.items())
        with open(f"{self.folder}/x.ini", "w") as f:
            f.write(f"[experiment]\ntitle = peers\nseeds = 1\n[budget]\npreset = {self.preset}\nschedule = constant\nwarmup = 0\n{text}"
                    f"[stage train]\nsource = ./corpus\nsteps = {steps}\n[row a]\n{self.row}"
                    "[task language_modeling]\ncorpus = ./corpus\nsplit = test\n")
        self.call("train", "x.ini", "--row", "a", "--out", "m.safetensors")
        return read_safetensors(f"{self.folder}/m.safetensors")

    def logits(self):
        """Of the model trained last, for the first step's tokens."""
        out = []
        for t in self.texts:
            with open(f"{self.folder}/t.txt", "w", newline="") as f:
                f.write(t[:self.shape.tokens])
            self.call("logits", "--model", "m.safetensors", "--input", "t.txt", "--output", "l.npy")
            out.append(np.load(f"{self.folder}/l.npy")[:self.shape.tokens])
        return np.stack(out)

    def batch(self, step):
        n = self.shape.tokens
        rows = [[0] + [ord(c) for c in t] for t in self.texts]
        cut = np.array([r[step * n:(step + 1) * n + 1] for r in rows], np.int64)
        return cut[:, :-1].copy(), cut[:, 1:].copy()


TOLERANCE = {"logits": 2e-5, "loss": 2e-6, "gradient": 2e-4, "update": 2e-3}


def verify(program, preset, make):
    """make(shape, parameters, training) -> peer. Prints the largest differences; the number of failures is returned."""
    failed = 0
    for arch in ARCHITECTURES:
        with tempfile.TemporaryDirectory() as folder:
            ours = Ours(program, preset, arch, folder)
            before = ours.train(1, lr=0, clip=0)
            logits = ours.logits().astype(np.float64)
            tokens, targets = ours.batch(0)
            top = logits.max(-1, keepdims=True)
            nll = np.log(np.exp(logits - top).sum(-1)) + top[..., 0] - np.take_along_axis(logits, targets[..., None], -1)[..., 0]
            # Without moments, decay and clipping and with epsilon 1 a step moves a value by lr g / (|g| + 1): that gives g.
            lr, rate = 1000.0, {"gate": 10.0}
            moved = ours.train(1, lr=lr, clip=0, beta1=0, beta2=0, adam_eps=1, weight_decay=0)
            grads = {}
            for k, w in before.items():
                u = (w.astype(np.float64) - moved[k]) / (lr * rate.get(kind_of(k), 1.0))
                grads[k] = u / (1 - np.abs(u))
            t = Training(lr=1e-3, eps=1e-4)
            after = ours.train(3, lr=t.lr, clip=t.clip, adam_eps=t.eps)
            peer = make(ours.shape, before, t)
            loss, g = peer.gradients(tokens, targets)
            errors = {"logits": relative(peer.logits(tokens), logits), "loss": abs(loss - nll.mean()) / nll.mean()}
            errors["gradient"], worst = max((relative(g[k], grads[k]), k) for k in grads)
            for i in range(3):
                peer.step(*ours.batch(i))
            end = peer.parameters()
            errors["update"], late = max((relative(end[k] - before[k], after[k].astype(np.float64) - before[k]), k) for k in before)
            bad = [k for k, e in errors.items() if not e <= TOLERANCE[k]]
            failed += len(bad) > 0
            print(f"{arch:14} " + "  ".join(f"{k} {e:.1e}" for k, e in errors.items()) +
                  f"  (gradient of {worst}; three AdamW steps: {late})" + (f"  FAILED: {', '.join(bad)}" if bad else ""), flush=True)
    print("largest differences relative to the largest value of a tensor; allowed: " +
          ", ".join(f"{k} {v:g}" for k, v in TOLERANCE.items()))
    return failed


def read_options(text, table):
    """'a=b,c=d' against {key: choices}; the first choice is the default."""
    out = {k: v[0] for k, v in table.items()}
    for pair in filter(None, text.split(",")):
        k, _, v = pair.partition("=")
        if k not in table or v not in table[k]:
            sys.exit(f"--variant {pair}: known are " + "; ".join(f"{a}={'|'.join(b)}" for a, b in table.items()))
        out[k] = v
    return out


def add_arguments(p):
    p.add_argument("--preset", choices=list(PRESETS), default="micro")
    p.add_argument("--arch", choices=ARCHITECTURES, default="infini-linear")
    p.add_argument("--ffn", type=int, help="width of the feed-forward part; default: the preset's")
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--seconds", type=float, default=3, help="time measured")
    p.add_argument("--warmup", type=int, default=4, help="steps before")
    p.add_argument("--variant", default="", help="KEY=VALUE,... ; see --variants")
    p.add_argument("--variants", action="store_true", help="list what --variant knows, default first")
    p.add_argument("--verify", metavar="INFINIBENCH", help="compare with our program instead: its path")


def shape_of(a):
    s = Shape(*PRESETS[a.preset], a.arch)
    s.ffn = a.ffn or s.ffn
    s.relu = a.preset == "paper"
    return s
