"""torch_peer.py - the same models as a PyTorch program, layer by layer over all segments of a step.

  torch_peer.py --preset micro --arch infini-delta --threads 2     one line of JSON: tokens/s of a training step
  torch_peer.py --verify build/release/infinibench --preset nano   logits, loss, gradients, three AdamW steps against our program
  torch_peer.py --variants                                         what --variant can choose

Two formulations of one model:
  functions   written for eager execution: one product for q, k and v and one for both halves of the feed-forward part; norm weights and
              the local factor 1 - g folded into the weights that follow; rotation, feature map, causal attention and SwiGLU as autograd
              functions with backward passes by hand, in place, copying heads apart and together only once; masked blocks are skipped
  plain       operations that a compiler can fuse; scaled_dot_product_attention where this version has it
The environment (allocator, BLAS, waiting of threads) is set by starting anew once; nothing is set that the caller has set himself.
"""
import argparse
import os
import sys
import threading

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import common  # noqa: E402

HERE = "/usr/lib/" + os.uname().machine + "-linux-gnu/"
EXTRA = os.environ.get("PEER_LIBRARIES", HERE)  # where allocators and other BLAS builds are looked for
ALLOCATORS = {"jemalloc": "libjemalloc.so.2", "tcmalloc": "libtcmalloc_minimal.so.4", "tbb": "libtbbmalloc_proxy.so.2"}
OPTIONS = {
    "style": ("functions", "plain"),        # formulation
    "run": ("threads", "rows", "compile"),  # threads inside operations; the rows of the batch shared by Python threads; torch.compile
    "block": ("64", "32", "128", "256", "0"),  # queries of an attention block (functions); 0: one block
    "device": ("cpu", "cuda"),              # cuda: products in TF32; style=plain
    "optimizer": ("flat", "foreach", "fused"),
    "malloc": ("tuned", "glibc", "hugepages") + tuple(ALLOCATORS),
    "core": ("best", "asis", "cooperlake", "skylakex", "haswell", "zen"),  # OpenBLAS; best: Cooperlake or SkylakeX with AVX-512
    "blas": ("asis", "openmp"),             # another build of OpenBLAS, where installed
    "wait": ("passive", "active"),          # OpenMP threads between parallel regions
    "simd": ("avx512", "asis"),             # instruction set of PyTorch's own loops, where the processor has it (1.13 takes AVX2)
}


def processor_has(flag):
    with open("/proc/cpuinfo") as f:
        return f" {flag} " in f.read()


def environment(o, threads):
    """What has to be set before the libraries start."""
    e = {"OMP_NUM_THREADS": str(1 if o["run"] == "rows" else threads), "OMP_WAIT_POLICY": o["wait"].upper()}
    e["OPENBLAS_NUM_THREADS"] = e["MKL_NUM_THREADS"] = e["OMP_NUM_THREADS"]
    if o["wait"] == "passive":
        e["GOMP_SPINCOUNT"] = "0"
    core = o["core"]
    if core == "best":
        core = "cooperlake" if processor_has("avx512_bf16") else "skylakex" if processor_has("avx512bw") else "asis"
    if core != "asis":
        e["OPENBLAS_CORETYPE"] = {"skylakex": "SkylakeX", "cooperlake": "Cooperlake", "haswell": "Haswell", "zen": "Zen"}[core]
    if o["malloc"] != "glibc":  # big blocks stay with the process instead of being mapped and cleared for each operation
        e.update(MALLOC_MMAP_THRESHOLD_="4294967296", MALLOC_TRIM_THRESHOLD_="4294967296", MALLOC_TOP_PAD_="67108864")
    if o["malloc"] == "hugepages":
        e["GLIBC_TUNABLES"] = "glibc.malloc.hugetlb=1"
    if o["malloc"] in ALLOCATORS:
        found = [p for d in (EXTRA, HERE) for p in [os.path.join(d, ALLOCATORS[o["malloc"]])] if os.path.exists(p)]
        if not found:
            sys.exit(f"malloc={o['malloc']}: {ALLOCATORS[o['malloc']]} is not installed")
        e["LD_PRELOAD"] = found[0]
    if o["blas"] == "openmp":
        folder = next((d + "/openblas-openmp" for d in (EXTRA, HERE) if os.path.exists(d + "/openblas-openmp/libblas.so.3")), None)
        if not folder:
            sys.exit("blas=openmp: install libopenblas0-openmp")
        e["LD_LIBRARY_PATH"] = folder
    if o["simd"] == "avx512" and processor_has("avx512bw"):
        e["ATEN_CPU_CAPABILITY"] = "avx512"
    return e


def start():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    common.add_arguments(p)
    a = p.parse_args()
    if a.variants:
        for k, v in OPTIONS.items():
            print(f"{k} = {' | '.join(v)}")
        sys.exit(0)
    o = common.read_options(a.variant, OPTIONS)
    if "style=" not in a.variant and (o["run"] == "compile" or o["device"] == "cuda"):
        o["style"] = "plain"
    if o["device"] == "cuda" and (o["style"] != "plain" or o["run"] == "rows"):
        sys.exit("device=cuda: use style=plain and run=threads (eager) or run=compile")
    if o["run"] == "compile" and o["style"] == "functions":
        sys.exit("run=compile: the compiler does not take the functions by hand; use style=plain")
    if o["run"] == "compile" and "optimizer=" not in a.variant:
        o["optimizer"] = "fused"
    if not os.environ.get("PEER_STARTED"):
        e = {k: v for k, v in environment(o, a.threads).items() if k not in os.environ}
        os.execve(sys.executable, [sys.executable] + sys.argv, dict(os.environ, PEER_STARTED="1", **e))
    return a, o


if __name__ == "__main__":
    ARGUMENTS, CHOICE = start()

import numpy as np  # noqa: E402
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402

HAS_SDPA = hasattr(F, "scaled_dot_product_attention")


# ---- autograd functions ----

class Norm(torch.autograd.Function):
    """x / sqrt(mean(x^2) + eps); the weight is folded into what follows."""

    @staticmethod
    def forward(ctx, x, eps):
        inverse = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_().div_(x.shape[-1]).add_(eps).rsqrt_()
        y = x * inverse
        ctx.save_for_backward(y, inverse)
        return y

    @staticmethod
    def backward(ctx, g):
        y, inverse = ctx.saved_tensors
        mean = (g * y).sum(-1, keepdim=True).div_(-y.shape[-1])
        return torch.addcmul(g, y, mean).mul_(inverse), None


class SwiGLU(torch.autograd.Function):
    """silu(gate) * up of [tokens, 2 F]."""

    @staticmethod
    def forward(ctx, gu):
        gate, up = gu.chunk(2, -1)
        sigmoid = torch.sigmoid(gate)
        silu = gate * sigmoid
        ctx.save_for_backward(up, sigmoid, silu)
        return silu * up

    @staticmethod
    def backward(ctx, g):
        up, sigmoid, silu = ctx.saved_tensors
        out = torch.empty(g.shape[0], 2 * g.shape[1])
        dgate, dup = out.chunk(2, -1)
        torch.mul(g, silu, out=dup)
        slope = torch.addcmul(sigmoid, silu, 1 - sigmoid)  # of silu
        torch.mul(slope.mul_(g), up, out=dgate)
        return out


class Heads(torch.autograd.Function):
    """qkv [R*N, 3 H E] apart into heads [R*H, N, E]: rotated q (times the scale) and k, v, and with memory elu + 1 of q and k.
    Pairs of the rotation lie side by side (rows of wq and wk are ordered so), so that it is a complex product."""

    @staticmethod
    def forward(ctx, qkv, tq, tk, rows, heads, memory):
        n, half = tq.shape
        q, k, v = qkv.view(rows, n, 3, heads, 2 * half).permute(2, 0, 3, 1, 4).unbind(0)
        ctx.tables, ctx.shape = (tq, tk), (rows, n, heads, half)
        out = []
        for x, t in ((q, tq), (k, tk)):
            y = torch.empty(rows, heads, n, half, dtype=torch.complex64)
            torch.mul(torch.view_as_complex(x.unflatten(-1, (half, 2))), t, out=y)
            out.append(torch.view_as_real(y).view(rows * heads, n, 2 * half))
        out.append(v.reshape(rows * heads, n, 2 * half))
        if memory:
            for x in (q, k):
                y = torch.empty(rows, heads, n, 2 * half)
                torch._C._nn.elu(x, out=y)
                out.append(y.add_(1).view(rows * heads, n, 2 * half))
            ctx.save_for_backward(*out[3:])
        return tuple(out)

    @staticmethod
    def backward(ctx, *g):
        rows, n, heads, half = ctx.shape
        out = torch.empty(rows, n, 3, heads, 2 * half)
        dq, dk, dv = out.permute(2, 0, 3, 1, 4).unbind(0)
        for d, x, t in ((dq, g[0], ctx.tables[0]), (dk, g[1], ctx.tables[1])):
            x = torch.view_as_complex(x.reshape(rows, heads, n, half, 2))
            torch.mul(x, t.conj().resolve_conj(), out=torch.view_as_complex(d.unflatten(-1, (half, 2))))
        dv.copy_(g[2].view(rows, heads, n, 2 * half))
        if len(g) > 3:  # the derivative of elu + 1 is min(its value, 1)
            for d, x, y in ((dq, g[3], ctx.saved_tensors[0]), (dk, g[4], ctx.saved_tensors[1])):
                d.addcmul_(x.reshape(d.shape), y.clamp(max=1).view(d.shape))
        return out.view(rows * n, -1), None, None, None, None, None


class Attention(torch.autograd.Function):
    """base + causal softmax(q k') v over blocks of queries; keys beyond a block are not touched. base is overwritten."""

    @staticmethod
    def forward(ctx, q, k, v, base, block, mask):
        t = q.shape[1]
        out = torch.empty_like(q) if base is None else base
        kept = []
        for a in range(0, t, block):
            b = min(a + block, t)
            p = torch.bmm(q[:, a:b], k[:, :b].transpose(1, 2))
            p[:, :, a:].add_(mask[:b - a, :b - a])
            p = torch.softmax(p, -1)
            if base is None:
                torch.bmm(p, v[:, :b], out=out[:, a:b])
            else:
                out[:, a:b].baddbmm_(p, v[:, :b])
            kept.append(p)
        if base is not None:
            ctx.mark_dirty(base)
        ctx.block, ctx.based = block, base is not None
        ctx.save_for_backward(q, k, v, *kept)
        return out

    @staticmethod
    def backward(ctx, g):
        q, k, v, *kept = ctx.saved_tensors
        t = q.shape[1]
        g = g.contiguous()
        dq, dk, dv = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
        for i in reversed(range(len(kept))):
            a, p = i * ctx.block, kept[i]
            b = min(a + ctx.block, t)
            d = torch.bmm(g[:, a:b], v[:, :b].transpose(1, 2))
            d = torch._softmax_backward_data(d, p, -1, torch.float32)
            torch.bmm(d, k[:, :b], out=dq[:, a:b])
            if b == t:  # the last block reaches all keys
                torch.bmm(p.transpose(1, 2), g[:, a:b], out=dv)
                torch.bmm(d.transpose(1, 2), q[:, a:b], out=dk)
            else:
                dv[:, :b].baddbmm_(p.transpose(1, 2), g[:, a:b])
                dk[:, :b].baddbmm_(d.transpose(1, 2), q[:, a:b])
        return dq, dk, dv, g if ctx.based else None, None, None


# ---- the model ----

def memory_read(s, fq, fk, v, memory, norm, factor):
    """fq, fk, v [S*BH, N, E], memory [BH, E, E], norm [BH, E] -> factor * (fq M) / (fq z + eps) with M, z of earlier segments, and what
    follows the last. factor [BH, 1, 1]."""
    S, BH, E = s.segments, memory.shape[0], s.e
    n = fq.shape[1]
    z = torch.cat([norm[None], fk.sum(1).view(S, BH, E)]).cumsum(0)
    before = z[:S].reshape(S * BH, E, 1)
    if s.arch == "infini-linear":
        m = torch.cat([memory[None], torch.bmm(fk.transpose(1, 2), v).view(S, BH, E, E)]).cumsum(0)
        earlier, last = m[:S].reshape(S * BH, E, E), m[S]
    else:  # delta: v - (fk M) / (fk z + eps) is written, one segment after the other
        scaled = fk / (torch.bmm(fk, before) + s.memory_eps)
        m, ms = memory, []
        for f, fs, x in zip(fk.view(S, BH, n, E).unbind(0), scaled.view(S, BH, n, E).unbind(0), v.view(S, BH, n, E).unbind(0)):
            ms.append(m)
            m = torch.baddbmm(m, f.transpose(1, 2), torch.baddbmm(x, fs, m, alpha=-1))
        earlier, last = torch.stack(ms).view(S * BH, E, E), m
    weight = factor.repeat(S, 1, 1) / (torch.bmm(fq, before) + s.memory_eps)
    return torch.bmm(fq * weight, earlier), last, z[S]


class Peer:
    def __init__(self, shape, parameters, training, options, threads=1):
        self.s, self.t, self.o, self.threads = shape, training, options, threads
        s = shape
        self.infini = s.arch.startswith("infini")
        self.functions = options["style"] == "functions"
        # Order of a head's rows: pairs (e, e + E/2) side by side for the complex product, as they are otherwise.
        pairs = np.arange(s.e).reshape(2, -1).T.reshape(-1) if self.functions else np.arange(s.e)
        self.order = (np.arange(s.heads)[:, None] * s.e + pairs).reshape(-1)
        parts = {}
        for k, x in parameters.items():
            if k.endswith((".wq", ".wk")):
                x = x[self.order]
            layer, _, name = k.rpartition(".")
            if name in ("wq", "wk", "wv"):
                parts.setdefault(layer + ".wqkv", {})[name] = x
            elif name in ("w_gate", "w_up") and not s.relu:
                parts.setdefault(layer + ".wgu", {})[name] = x
            else:
                parts[k] = x.reshape(-1) if name in ("norm1", "norm2", "final_norm", "beta") else x
        for k, x in parts.items():
            if k.endswith(".wqkv"):
                parts[k] = np.concatenate([x["wq"], x["wk"], x["wv"]])
            elif k.endswith(".wgu"):
                parts[k] = np.concatenate([x["w_gate"], x["w_up"]])
        # All values in one buffer, ordered by kind: the flat optimiser is a handful of operations.
        kind = lambda k: ("weight", "norm", "gate").index("gate" if k.endswith("beta") else "norm" if "norm" in k else "weight")
        names = sorted(parts, key=kind)
        self.flat = torch.from_numpy(np.concatenate([parts[k].reshape(-1) for k in names])).clone().to(options["device"])
        self.grad = torch.zeros_like(self.flat)
        self.p, at, ends = {}, 0, [0, 0, 0]
        for k in names:
            n = parts[k].size
            w = torch.nn.Parameter(self.flat[at:at + n].view(parts[k].shape))
            w.grad = self.grad[at:at + n].view(parts[k].shape)
            self.p[k] = w
            at += n
            ends[kind(k)] = at
        self.ends = (ends[0], max(ends[0], ends[1]))
        self.make_optimizer()
        position = torch.arange(s.segment if self.infini else s.tokens, dtype=torch.float64)
        angle = position[:, None] * s.rope_base ** (-2 * torch.arange(s.e // 2, dtype=torch.float64) / s.e)
        self.tk = torch.polar(torch.ones_like(angle), angle).to(torch.complex64)
        self.tq = self.tk * s.e**-0.5
        self.cos, self.sin = angle.cos().float(), angle.sin().float()
        self.block = int(options["block"]) or len(position)
        self.mask = torch.full((self.block, self.block), float("-inf")).triu_(1)
        self.full_mask = None if HAS_SDPA else torch.full((len(position), len(position)), float("-inf")).triu_(1)
        self.loss = torch.compile(self.forward, dynamic=False) if options["run"] == "compile" else self.forward
        self.state = [self.empty_state(len(part)) for part in self.parts()]

    # -- optimisers --

    def make_optimizer(self):
        t, self.count = self.t, 0
        if self.o["optimizer"] == "flat":
            self.m, self.v = torch.zeros_like(self.flat), torch.zeros_like(self.flat)
            return
        group = {"weight": [], "norm": [], "gate": []}
        for k, w in self.p.items():
            group["gate" if k.endswith("beta") else "norm" if "norm" in k else "weight"].append(w)
        groups = [{"params": group["weight"], "weight_decay": t.decay}, {"params": group["norm"], "weight_decay": 0.0},
                  {"params": group["gate"], "weight_decay": 0.0, "lr": t.lr * t.gate_rate}]
        self.adamw = torch.optim.AdamW([g for g in groups if g["params"]], lr=t.lr, betas=(t.b1, t.b2), eps=t.eps,
                                       **{self.o["optimizer"]: True})

    @torch.no_grad()
    def update(self):
        t = self.t
        norm = float(torch.linalg.vector_norm(self.grad))
        if t.clip and norm > t.clip:
            self.grad.mul_(t.clip / norm)
        if self.o["optimizer"] != "flat":
            self.adamw.step()
            return
        self.count += 1
        c1, c2 = 1 - t.b1**self.count, 1 - t.b2**self.count
        self.m.lerp_(self.grad, 1 - t.b1)
        self.v.mul_(t.b2).addcmul_(self.grad, self.grad, value=1 - t.b2)
        below = self.v.sqrt().div_(c2**0.5).add_(t.eps)
        a, b = self.ends
        self.flat[:a].mul_(1 - t.lr * t.decay)
        self.flat[:b].addcdiv_(self.m[:b], below[:b], value=-t.lr / c1)
        if b < len(self.flat):
            self.flat[b:].addcdiv_(self.m[b:], below[b:], value=-t.lr * t.gate_rate / c1)

    # -- forward --

    def parts(self):
        """Rows of the batch that run together."""
        rows = np.arange(self.s.batch)
        return np.array_split(rows, min(self.threads, len(rows))) if self.o["run"] == "rows" else [rows]

    def empty_state(self, rows):
        s = self.s
        if not s.memory:
            return []
        return [(torch.zeros(rows * s.heads, s.e, s.e), torch.zeros(rows * s.heads, s.e)) for _ in range(s.layers)]

    def forward(self, tokens, targets, state, total):
        """Sum of the losses over `total` (targets) or logits, and the states that follow."""
        logits, after = (self.forward_functions if self.functions else self.forward_plain)(tokens, state)
        if targets is None:
            return logits.cpu() if not self.functions else logits, after
        return F.cross_entropy(logits, targets, reduction="sum") / total, after

    def forward_functions(self, tokens, state):
        s, p, after = self.s, self.p, []
        rows = tokens.numel() // len(self.tk)  # what attends within itself: segments, or whole rows
        x = F.embedding(tokens, p["embed"])
        for i in range(s.layers):
            w = lambda name: p[f"layers.{i}.{name}"]
            qkv = torch.mm(Norm.apply(x, s.norm_eps), (w("wqkv") * w("norm1")).t())
            parts = Heads.apply(qkv, self.tq, self.tk, rows, s.heads, s.memory)
            base, wo = None, w("wo")
            if s.memory:
                beta = w("beta")
                factor = beta.exp().repeat(rows // s.segments).view(-1, 1, 1)  # g / (1 - g)
                base, *last = memory_read(s, parts[3], parts[4], parts[2], *state[i], factor)
                after.append(last)
                wo = wo * torch.sigmoid(-beta).repeat_interleave(s.e)
            a = Attention.apply(*parts[:3], base, self.block, self.mask)
            a = a.view(rows, s.heads, -1, s.e).transpose(1, 2).reshape(x.shape[0], -1)
            x = torch.addmm(x, a, wo.t())
            gu = torch.mm(Norm.apply(x, s.norm_eps), (w("wgu") * w("norm2")).t())
            x = torch.addmm(x, SwiGLU.apply(gu), w("w_down").t())
        return torch.mm(Norm.apply(x, s.norm_eps), (p["head"] * p["final_norm"]).t()), after

    def rms_norm(self, x, w):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.s.norm_eps) * w

    def rotate(self, x):  # [R, H, N, E]
        a, b = x.chunk(2, -1)
        return torch.cat([a * self.cos - b * self.sin, a * self.sin + b * self.cos], -1)

    def forward_plain(self, tokens, state):
        s, p, after = self.s, self.p, []
        rows = tokens.numel() // len(self.tk)
        x = F.embedding(tokens, p["embed"])
        for i in range(s.layers):
            w = lambda name: p[f"layers.{i}.{name}"]
            qkv = F.linear(self.rms_norm(x, w("norm1")), w("wqkv"))
            q, k, v = qkv.view(rows, -1, 3, s.heads, s.e).permute(2, 0, 3, 1, 4).unbind(0)
            if HAS_SDPA:
                a = F.scaled_dot_product_attention(self.rotate(q), self.rotate(k), v, is_causal=True)
            else:
                score = self.rotate(q * s.e**-0.5) @ self.rotate(k).transpose(-1, -2)
                a = torch.softmax(score.add_(self.full_mask), -1) @ v
            if s.memory:
                flat = lambda y: y.reshape(rows * s.heads, -1, s.e)
                g = torch.sigmoid(w("beta"))
                factor = g.repeat(rows // s.segments).view(-1, 1, 1)
                read, *last = memory_read(s, flat(F.elu(q) + 1), flat(F.elu(k) + 1), flat(v), *state[i], factor)
                after.append(last)
                a = read.view(a.shape) + a * (1 - g).view(-1, 1, 1)
            x = x + F.linear(a.transpose(1, 2).reshape(x.shape[0], -1), w("wo"))
            h = self.rms_norm(x, w("norm2"))
            if s.relu:
                inner = F.relu(F.linear(h, w("w_up")))
            else:
                gate, up = F.linear(h, w("wgu")).chunk(2, -1)
                inner = F.silu(gate) * up
            x = x + F.linear(inner, w("w_down"))
        return F.linear(self.rms_norm(x, p["final_norm"]), p["head"]), after

    # -- a step --

    def layout(self, tokens):
        """[B, T] -> one row of tokens in the order of the batched products: segment, row, place for infini; row, place otherwise."""
        t = torch.from_numpy(np.ascontiguousarray(tokens)).to(self.o["device"])
        if self.infini:
            t = t.view(t.shape[0], self.s.segments, -1).transpose(0, 1)
        return t.reshape(-1)

    def backward(self, tokens, targets):
        self.grad.zero_()
        losses, parts = {}, self.parts()

        def work(i):
            rows = parts[i]
            loss, after = self.loss(self.layout(tokens[rows]), self.layout(targets[rows]), self.state[i], tokens.size)
            loss.backward()
            losses[i] = loss.detach()
            self.state[i] = [(m.detach(), z.detach()) for m, z in after]

        others = [threading.Thread(target=work, args=(i,)) for i in range(1, len(parts))]
        for t in others:
            t.start()
        work(0)
        for t in others:
            t.join()
        return sum(float(losses[i]) for i in range(len(parts)))

    def step(self, tokens, targets):
        loss = self.backward(tokens, targets)
        self.update()
        return loss

    # -- for the check --

    def logits(self, tokens):
        s = self.s
        with torch.no_grad():
            out = self.forward(self.layout(tokens), None, self.empty_state(s.batch), 1)[0].numpy()
        if self.infini:
            return out.reshape(s.segments, s.batch, s.segment, -1).transpose(1, 0, 2, 3).reshape(s.batch, s.tokens, -1)
        return out.reshape(s.batch, s.tokens, -1)

    def named(self, source):
        s, out = self.s, {}
        for k, x in source.items():
            x = x.detach().cpu().numpy().copy()
            if k.endswith(".wqkv"):
                for name, y in zip(("wq", "wk", "wv"), np.split(x, 3)):
                    back = np.empty_like(y)
                    back[self.order] = y
                    out[k[:-4] + name] = y if name == "wv" else back
            elif k.endswith(".wgu"):
                out[k[:-3] + "w_gate"], out[k[:-3] + "w_up"] = np.split(x, 2)
            else:
                out[k] = x
        return out

    def gradients(self, tokens, targets):
        loss = self.backward(tokens, targets)
        self.state = [self.empty_state(len(part)) for part in self.parts()]
        return loss, self.named({k: w.grad for k, w in self.p.items()})

    def parameters(self):
        return self.named(self.p)


def main(a, o):
    if o["run"] == "compile" and not hasattr(torch, "compile"):
        sys.exit(f"run=compile: PyTorch {torch.__version__} has no torch.compile")
    if o["optimizer"] == "fused" and int(torch.__version__.split(".")[0]) < 2:
        sys.exit(f"optimizer=fused: PyTorch {torch.__version__} has none for processors")
    if o["device"] == "cuda":
        if not torch.cuda.is_available():
            sys.exit("device=cuda: this PyTorch has no GPU here")
        torch.set_default_device("cuda")
        torch.set_float32_matmul_precision("high")
    torch.set_num_threads(1 if o["run"] == "rows" else a.threads)
    torch.set_flush_denormal(True)
    make = lambda shape, parameters, training: Peer(shape, parameters, training, o, a.threads)
    if a.verify:
        return 1 if common.verify(a.verify, a.preset, make) else 0
    shape = common.shape_of(a)
    peer = make(shape, common.initial(shape), common.Training())
    if o["device"] == "cuda":
        torch.set_default_device(None)  # it is for making things; set, it costs time in every call and breaks graphs
    common.measure(peer, shape, a.seconds, a.warmup, {"peer": f"PyTorch {torch.__version__}", "preset": a.preset, "threads": a.threads,
                                                      "variant": ",".join(f"{k}={v}" for k, v in o.items()),
                                                      "device": torch.cuda.get_device_name() if o["device"] == "cuda" else "cpu",
                                                      "blas": "MKL" if torch.backends.mkl.is_available() else "BLAS as built"})
    return 0


if __name__ == "__main__":
    sys.exit(main(ARGUMENTS, CHOICE))
