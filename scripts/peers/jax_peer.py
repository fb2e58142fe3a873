"""jax_peer.py - the same models as a JAX program: one compiled function per training step, layer by layer over all segments.

  jax_peer.py --preset micro --arch infini-delta --threads 2       one line of JSON: tokens/s of a training step
  jax_peer.py --verify build/release/infinibench --preset nano     logits, loss, gradients, three AdamW steps against our program
  jax_peer.py --variants                                           what --variant can choose

JAX has no setting for its number of threads; it takes one per processor it may run on, so the process is bound to --threads of them.
"""
import argparse
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import common  # noqa: E402

OPTIONS = {
    "memory": ("scan", "unroll"),         # delta over segments: lax.scan, or written out
    "block": ("128", "64", "256", "0"),   # queries of an attention block; 0: one block with a mask
    "heads": ("front", "inside"),         # heads moved in front of the tokens for the batched products, or left to the compiler
    "products": ("fused", "split"),       # q, k, v and both halves of the feed-forward part as one product each
}


def start():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    common.add_arguments(p)
    a = p.parse_args()
    if a.variants:
        for k, v in OPTIONS.items():
            print(f"{k} = {' | '.join(v)}")
        sys.exit(0)
    cpus = sorted(os.sched_getaffinity(0))
    if a.threads > len(cpus):
        sys.exit(f"--threads {a.threads}: there are {len(cpus)} processors")
    os.sched_setaffinity(0, cpus[:a.threads])
    if not os.environ.get("PEER_STARTED"):
        e = dict(MALLOC_MMAP_THRESHOLD_="4294967296", MALLOC_TRIM_THRESHOLD_="4294967296", MALLOC_TOP_PAD_="67108864",
                 JAX_PLATFORMS="cpu", OMP_NUM_THREADS=str(a.threads))
        os.execve(sys.executable, [sys.executable] + sys.argv, dict(e, **os.environ, PEER_STARTED="1"))
    return a, common.read_options(a.variant, OPTIONS)


if __name__ == "__main__":
    ARGUMENTS, CHOICE = start()

import numpy as np  # noqa: E402
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
from jax import lax  # noqa: E402


def rms_norm(x, w, eps):
    return x * lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + eps) * w


def rotate(x, cos, sin):  # [..., N, E], tables [N, E/2]
    a, b = jnp.split(x, 2, -1)
    return jnp.concatenate([a * cos - b * sin, a * sin + b * cos], -1)


def attention(q, k, v, block):
    """Causal, [R, H, T, E], q scaled; keys beyond a block of queries are not touched."""
    t, out = q.shape[2], []
    block = block or t
    for a in range(0, t, block):
        b = min(a + block, t)
        score = jnp.einsum("rhqe,rhke->rhqk", q[:, :, a:b], k[:, :, :b])
        score = jnp.where(jnp.arange(b)[None] <= jnp.arange(a, b)[:, None], score, -jnp.inf)
        out.append(jnp.einsum("rhqk,rhke->rhqe", jax.nn.softmax(score, -1), v[:, :, :b]))
    return out[0] if len(out) == 1 else jnp.concatenate(out, 2)


def memory_read(s, o, fq, fk, v, memory, norm):
    """[S, B, H, N, E]; memory [B, H, E, E], norm [B, H, E]: fq M / (fq z + eps) with M, z of earlier segments, and what follows."""
    z = jnp.cumsum(jnp.concatenate([norm[None], fk.sum(3)]), 0)
    before = z[:-1]
    if s.arch == "infini-linear":
        m = jnp.cumsum(jnp.concatenate([memory[None], jnp.einsum("sbhne,sbhnf->sbhef", fk, v)]), 0)
        earlier, last = m[:-1], m[-1]
    else:
        scaled = fk / (jnp.einsum("sbhne,sbhe->sbhn", fk, before)[..., None] + s.memory_eps)

        def write(m, x):
            f, fs, y = x
            return m + jnp.einsum("bhne,bhnf->bhef", f, y - jnp.einsum("bhne,bhef->bhnf", fs, m)), m

        if o["memory"] == "scan":
            last, earlier = lax.scan(write, memory, (fk, scaled, v))
        else:
            last, earlier = memory, []
            for i in range(s.segments):
                last, m = write(last, (fk[i], scaled[i], v[i]))
                earlier.append(m)
            earlier = jnp.stack(earlier)
    below = jnp.einsum("sbhne,sbhe->sbhn", fq, before)[..., None] + s.memory_eps
    return jnp.einsum("sbhne,sbhef->sbhnf", fq, earlier) / below, (last, z[-1])


class Peer:
    def __init__(self, shape, parameters, training, options):
        self.s, self.t, self.o = shape, training, options
        self.infini = shape.arch.startswith("infini")
        s = shape
        self.p = {k: jnp.asarray(x) for k, x in self.fuse(parameters).items()}
        position = np.arange(s.segment if self.infini else s.tokens, dtype=np.float64)
        angle = position[:, None] * s.rope_base ** (-2 * np.arange(s.e // 2) / s.e)
        self.cos, self.sin = jnp.asarray(np.cos(angle), jnp.float32), jnp.asarray(np.sin(angle), jnp.float32)
        self.m = {k: jnp.zeros_like(x) for k, x in self.p.items()}
        self.v = {k: jnp.zeros_like(x) for k, x in self.p.items()}
        self.count = jnp.zeros((), jnp.float32)
        self.state = self.empty_state()
        self.train = jax.jit(self.train_step, donate_argnums=(0, 1, 2, 3, 4))

    def empty_state(self):
        s = self.s
        return [(jnp.zeros((s.batch, s.heads, s.e, s.e)), jnp.zeros((s.batch, s.heads, s.e))) for _ in range(s.layers * s.memory)]

    def fuse(self, parameters):
        s, p = self.s, {}
        for k, x in parameters.items():
            layer, _, name = k.rpartition(".")
            x = x.reshape(s.tensors()[k])
            if self.o["products"] == "split":
                p[k] = x
            elif name == "wq":
                p[layer + ".wqkv"] = np.concatenate([x, parameters[layer + ".wk"], parameters[layer + ".wv"]])
            elif name == "w_gate":
                p[layer + ".wgu"] = np.concatenate([x, parameters[layer + ".w_up"]])
            elif name not in ("wk", "wv", "w_up"):
                p[k] = x
        return p

    def named(self, source):
        out = {}
        for k, x in source.items():
            x = np.asarray(x)
            if k.endswith(".wqkv"):
                out.update(zip((k[:-4] + n for n in ("wq", "wk", "wv")), np.split(x, 3)))
            elif k.endswith(".wgu"):
                out.update(zip((k[:-3] + n for n in ("w_gate", "w_up")), np.split(x, 2)))
            else:
                out[k] = x
        return out

    def logits_of(self, p, tokens, state):
        s, after = self.s, []
        heads = (s.heads, s.e)
        x = p["embed"][tokens]  # [R, N, D]: rows are segments in the order segment, row for infini, rows of the batch otherwise
        for i in range(s.layers):
            w = lambda name: p[f"layers.{i}.{name}"]
            h = rms_norm(x, w("norm1"), s.norm_eps)
            if self.o["products"] == "fused":
                qkv = (h @ w("wqkv").T).reshape(*h.shape[:2], 3, *heads)
                q, k, v = (jnp.moveaxis(qkv[:, :, j], 2, 1) for j in range(3))
            else:
                q, k, v = (jnp.moveaxis((h @ w(n).T).reshape(*h.shape[:2], *heads), 2, 1) for n in ("wq", "wk", "wv"))
            if self.o["heads"] == "front":
                q, k, v = lax.optimization_barrier((q, k, v))
            a = attention(rotate(q * s.e**-0.5, self.cos, self.sin), rotate(k, self.cos, self.sin), v, int(self.o["block"]))
            if s.memory:
                apart = lambda y: y.reshape(s.segments, -1, *y.shape[1:])
                read, last = memory_read(s, self.o, apart(jax.nn.elu(q) + 1), apart(jax.nn.elu(k) + 1), apart(v), *state[i])
                after.append(last)
                g = jax.nn.sigmoid(w("beta"))[:, None, None]
                a = g * read.reshape(a.shape) + (1 - g) * a
            x = x + jnp.moveaxis(a, 1, 2).reshape(x.shape[0], x.shape[1], -1) @ w("wo").T
            h = rms_norm(x, w("norm2"), s.norm_eps)
            if self.o["products"] == "fused":
                gate, up = jnp.split(h @ w("wgu").T, 2, -1)
            else:
                gate, up = h @ w("w_gate").T, h @ w("w_up").T
            x = x + (jax.nn.silu(gate) * up) @ w("w_down").T
        return rms_norm(x, p["final_norm"], s.norm_eps) @ p["head"].T, after

    def loss_of(self, p, tokens, targets, state):
        logits, after = self.logits_of(p, tokens, state)
        chosen = jnp.take_along_axis(logits, targets[..., None], -1)[..., 0]
        return jnp.mean(jax.nn.logsumexp(logits, -1) - chosen), after

    def train_step(self, p, m, v, count, state, tokens, targets):
        t = self.t
        (loss, after), g = jax.value_and_grad(self.loss_of, has_aux=True)(p, tokens, targets, state)
        norm = jnp.sqrt(sum(jnp.sum(x * x) for x in g.values()))
        if t.clip:
            factor = jnp.minimum(1, t.clip / norm)
            g = {k: x * factor for k, x in g.items()}
        count = count + 1
        c1, c2 = 1 - t.b1**count, 1 - t.b2**count
        np_, nm, nv = {}, {}, {}
        for k in p:
            kind = common.kind_of(k)
            rate, decay = t.lr * (t.gate_rate if kind == "gate" else 1), t.decay if kind == "weight" else 0.0
            nm[k] = t.b1 * m[k] + (1 - t.b1) * g[k]
            nv[k] = t.b2 * v[k] + (1 - t.b2) * g[k] * g[k]
            np_[k] = p[k] * (1 - rate * decay) - rate / c1 * nm[k] / (jnp.sqrt(nv[k] / c2) + t.eps)
        return np_, nm, nv, count, after, loss

    def layout(self, tokens):
        s = self.s
        if self.infini:
            tokens = tokens.reshape(-1, s.segments, s.segment).transpose(1, 0, 2).reshape(-1, s.segment)
        return tokens.astype(np.int32)

    def step(self, tokens, targets):
        self.p, self.m, self.v, self.count, self.state, loss = self.train(self.p, self.m, self.v, self.count, self.state,
                                                                          self.layout(tokens), self.layout(targets))
        loss = float(loss)
        jax.block_until_ready(self.p)
        return loss

    # -- for the check --

    def logits(self, tokens):
        s = self.s
        out = np.asarray(jax.jit(self.logits_of)(self.p, self.layout(tokens), self.empty_state())[0])
        if self.infini:
            out = out.reshape(s.segments, s.batch, s.segment, -1).transpose(1, 0, 2, 3)
        return out.reshape(s.batch, s.tokens, -1)

    def gradients(self, tokens, targets):
        f = jax.jit(jax.value_and_grad(self.loss_of, has_aux=True))
        (loss, _), g = f(self.p, self.layout(tokens), self.layout(targets), self.empty_state())
        return float(loss), self.named(g)

    def parameters(self):
        return self.named(self.p)


def main(a, o):
    make = lambda shape, parameters, training: Peer(shape, parameters, training, o)
    if a.verify:
        return 1 if common.verify(a.verify, a.preset, make) else 0
    shape = common.shape_of(a)
    peer = make(shape, common.initial(shape), common.Training())
    common.measure(peer, shape, a.seconds, a.warmup, {"peer": f"JAX {jax.__version__}", "threads": a.threads,
                                                      "variant": ",".join(f"{k}={v}" for k, v in o.items()), "blas": "XLA"})
    return 0


if __name__ == "__main__":
    sys.exit(main(ARGUMENTS, CHOICE))
