#!/usr/bin/python3
"""bench_peers.py - training steps of our program and of the same models in PyTorch and JAX: one run, same shapes, same threads.

  scripts/bench_peers.py [--preset micro|tiny] [--rounds 5] [--threads 2] [--csv FILE]
  scripts/bench_peers.py --verify               every peer against our program: logits, loss, gradients, AdamW steps
  scripts/bench_peers.py --tune torch-debian    tries each option of a peer against its best so far and prints what is fastest here

Rounds alternate: in each one our program and every peer run once for every architecture, each in a process of its own, so that whatever
disturbs the machine meets all alike. A ratio is taken within a round; shown are medians with the least and the greatest. A peer that is
not installed is left out with a sentence. Results are written after every measurement. Needs an idle machine; only the standard library.
"""
import argparse
import csv
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PEERS = os.path.join(ROOT, "scripts", "peers")
sys.path.insert(0, PEERS)
from shapes import ARCHITECTURES, PRESETS  # noqa: E402

VENV = os.path.join(ROOT, "build", "peers")
TORCH_PYPI = "python3 -m venv build/peers/torch && build/peers/torch/bin/pip install torch numpy"
JAX_PYPI = "python3 -m venv build/peers/jax && build/peers/jax/bin/pip install jax"
# Peer: interpreter, program, module to look for, how to install it, the lines of the table (label: variant).
ALL_PEERS = {
    "torch-debian": ("/usr/bin/python3", "torch_peer.py", "torch", "apt-get install python3-torch python3-numpy",
                     {"by hand": "", "by hand, rows": "run=rows", "plain": "style=plain,optimizer=foreach"}),
    "torch-pypi": (VENV + "/torch/bin/python", "torch_peer.py", "torch", TORCH_PYPI,
                   {"by hand": "", "by hand, rows": "run=rows", "compiled": "run=compile"}),
    "jax": (VENV + "/jax/bin/python", "jax_peer.py", "jax", JAX_PYPI, {"compiled": ""}),
}
COLUMNS = ("preset", "threads", "round", "architecture", "program", "label", "version", "variant", "tokens_per_second", "step_ms",
           "roof_gflops", "percent_of_roof", "ratio")


def stop(text):
    sys.exit("bench_peers.py: " + text)


class Runner:
    def __init__(self, a):
        self.a = a
        cpus = sorted(os.sched_getaffinity(0))
        if a.threads > len(cpus):
            stop(f"--threads {a.threads}: this process may use {len(cpus)} processors")
        self.cpus = cpus[:a.threads]
        caches = {"JAX_COMPILATION_CACHE_DIR": VENV + "/jax-cache", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
                  "TORCHINDUCTOR_CACHE_DIR": VENV + "/inductor-cache"}
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "OPENBLAS_", "MKL_", "GOMP_"))}
        self.env.update(caches)

    def run(self, words, **options):
        """All programs are bound to the same processors: as many as threads."""
        return subprocess.run(words, capture_output=True, text=True, env=self.env, cwd=ROOT, timeout=self.a.timeout,
                              preexec_fn=lambda: os.sched_setaffinity(0, self.cpus), **options)

    # ---- ours ----

    def shape(self, arch):
        """FFN width of an architecture at the preset, from our program; the preset's other numbers must be those of the peers."""
        name, _, update = arch.partition("-")
        with tempfile.TemporaryDirectory() as folder:
            path = folder + "/x.ini"
            os.makedirs(folder + "/corpus/train")
            with open(folder + "/corpus/train/a.txt", "w") as f:
                f.write("text")
            with open(path, "w") as f:
                f.write(f"[experiment]\ntitle = shape\n[budget]\npreset = {self.a.preset}\n"
                        f"[stage train]\nsource = {folder}/corpus\nsteps = 1\n"
                        f"[row a]\narchitecture = {name}\n" + (f"update = {update}\n" if update else ""))
            done = self.run([self.a.program, "run", path, "--dry-run"])
        m = re.search(r"shape: (\d+) layers x (\d+) \((\d+) heads x (\d+).*?\), FFN (\d+), vocabulary (\d+)\n"
                      r".*?: (\d+) rows x (\d+) segments x (\d+) tokens", done.stdout)
        if done.returncode or not m:
            stop(f"{self.a.program} run --dry-run: {done.stderr.strip() or 'the shape line was not found'}")
        layers, d, heads, e, ffn, vocab, batch, segments, segment = map(int, m.groups())
        want = PRESETS[self.a.preset]
        if (layers, d, heads, e, segment, segments, batch, vocab) != want[:4] + want[5:]:
            stop(f"preset {self.a.preset}: our program has another shape than scripts/peers/shapes.py; make them equal")
        return ffn

    def ours(self, architectures):
        """{architecture: (tokens/s, step ms, roof, percent of the roof)}"""
        out = {}
        for only in sorted({x.partition("-")[0] for x in architectures}):
            with tempfile.TemporaryDirectory() as folder:
                done = self.run([self.a.program, "--quiet", "--threads", str(self.a.threads), "bench", "train", "--preset",
                                 self.a.preset, "--only", only, "--csv", folder + "/x.csv"])
                if done.returncode:
                    stop(f"{self.a.program} bench train: {done.stderr.strip()}")
                for line in done.stdout.splitlines():
                    if line.startswith(("library", "core type", "machine")):
                        out.setdefault("", []).append(" ".join(line.split()))
                with open(folder + "/x.csv") as f:
                    for r in csv.DictReader(f):
                        name = r["name"].replace(" ", "-")
                        if name in architectures:
                            out[name] = (float(r["rate"]), float(r["microseconds"]) / 1e3,
                                         100 * float(r["gflops"]) / float(r["percent"]), float(r["percent"]))
        return out

    # ---- peers ----

    def installed(self, name):
        python, _, module, how, _ = ALL_PEERS[name]
        if not os.path.exists(python) or self.run([python, "-c", f"import numpy, {module}"]).returncode:
            print(f"{name} is not installed and left out; install it with: {how}", flush=True)
            return False
        return True

    def peer(self, name, arch, variant, ffn, seconds):
        python, program = ALL_PEERS[name][:2]
        words = [python, f"{PEERS}/{program}", "--preset", self.a.preset, "--arch", arch, "--ffn", str(ffn), "--threads",
                 str(self.a.threads), "--seconds", str(seconds), "--variant", variant]
        try:
            done = self.run(words)
        except subprocess.TimeoutExpired:
            return None, f"no result within {self.a.timeout:g} s"
        lines = [x for x in done.stdout.splitlines() if x.startswith("{")]
        if done.returncode or not lines:
            return None, (done.stderr.strip().splitlines() or ["no output"])[-1]
        return json.loads(lines[-1]), None


def alternatives(python, program):
    """{option: choices}, as the peer lists them."""
    done = subprocess.run([python, f"{PEERS}/{program}", "--variants"], capture_output=True, text=True)
    pairs = (line.partition(" = ") for line in done.stdout.splitlines())
    return {k: v.split(" | ") for k, _, v in pairs}


def tune(r, name, arch):
    """One option after the other: a choice is kept when its median of --rounds alternated runs is more than 1 % above the best."""
    if not r.installed(name):
        return 2
    python, program = ALL_PEERS[name][:2]
    table, ffn = alternatives(python, program), r.shape(arch)
    chosen = dict(pair.split("=") for pair in filter(None, r.a.variant.split(",")))
    text = lambda o: ",".join(f"{k}={v}" for k, v in o.items())
    print(f"{name}, {arch}, preset {r.a.preset}, {r.a.threads} threads; tokens/s, median of {r.a.rounds} alternated runs")
    for key, choices in table.items():
        if key in chosen:
            continue
        trial, why = {c: [] for c in choices}, {}
        for _ in range(r.a.rounds):
            for c in choices:
                if c not in why:
                    d, bad = r.peer(name, arch, text(dict(chosen, **{key: c})), ffn, r.a.seconds)
                    trial[c].append(d["tokens_per_second"] if d else 0)
                    if bad:
                        why[c] = bad
        rate = {c: statistics.median(x) for c, x in trial.items()}
        best = max(rate, key=rate.get)
        if rate[best] <= 1.01 * rate[choices[0]]:
            best = choices[0]
        if best != choices[0]:
            chosen[key] = best
        print(f"  {key:10} " + "  ".join(f"{c} {rate[c]:.0f}" if c not in why else f"{c} -" for c in choices) + f"  -> {best}", flush=True)
        for c, x in why.items():
            print(f"  {'':10} {c}: {x}", flush=True)
    print(f"fastest: --variant '{name}:{text(chosen)}'" if chosen else "fastest: the defaults")
    return 0


def span(values, form):
    return f"{statistics.median(values):{form}} ({min(values):{form}}-{max(values):{form}})"


def measure(r, architectures, names):
    a, rows = r.a, []
    entries = [(n, label, v) for n in names for label, v in ALL_PEERS[n][4].items()]
    own = dict(x.partition(":")[::2] for x in filter(None, a.variant.split(";")))
    if set(own) - set(names):
        stop(f"--variant {a.variant}: written as PEER:KEY=VALUE,...;PEER:... with peers among {', '.join(names)}")
    entries += [(n, "chosen", v) for n, v in own.items()]
    ffn, dead, machine = {x: r.shape(x) for x in architectures}, {}, []
    out = open(a.csv, "w", newline="") if a.csv else None
    writer = csv.writer(out, lineterminator="\n") if out else None
    if writer:
        writer.writerow(COLUMNS)
    keep = {}

    def note(number, arch, program, label, version, variant, rate, ms, roof, percent, ratio):
        keep.setdefault((arch, program, label), []).append((rate, percent, ratio, version))
        if writer:
            writer.writerow((a.preset, a.threads, number, arch, program, label, version, variant, f"{rate:.1f}", f"{ms:.3f}", f"{roof:.1f}",
                             f"{percent:.1f}", f"{ratio:.4f}"))
            out.flush()

    roofs = []
    for number in range(1, a.rounds + 1):
        ours = r.ours(architectures)
        machine = machine or ours.get("", [])
        for arch in architectures:
            rate, ms, roof, percent = ours[arch]
            roofs.append(roof)
            note(number, arch, "ours", "", "", "", rate, ms, roof, percent, 1)
        # Each round starts with another peer.
        turn = number % max(len(entries), 1)
        for name, label, variant in entries[turn:] + entries[:turn]:
            for arch in architectures:
                if (name, label, arch) in dead:
                    continue
                d, bad = r.peer(name, arch, variant, ffn[arch], a.seconds)
                if bad:
                    dead[name, label, arch] = bad
                    continue
                rate, _, roof, percent = ours[arch]
                mine = d["tokens_per_second"]
                note(number, arch, name, label, d["peer"], d["variant"], mine, d["step_ms"], roof, percent * mine / rate, rate / mine)
        print(f"round {number} of {a.rounds} done", file=sys.stderr, flush=True)
    if out:
        out.close()
    print("\n".join(dict.fromkeys(machine)))
    print(f"preset {a.preset}, {a.threads} threads, {a.rounds} rounds; "
          f"GEMM roof {span(roofs, '.0f')} GFLOP/s\nmedian (least-greatest); ratio = ours / peer within a round\n")
    print(f"{'architecture':15}{'program':34}{'tokens/s':>26}{'of roof':>9}{'ratio':>22}")
    for arch in architectures:
        for program, label in [("ours", "")] + [entry[:2] for entry in entries]:
            values = keep.get((arch, program, label))
            if not values:
                continue
            rates, percents, ratios, versions = zip(*values)
            title = program if program == "ours" else f"{versions[0]}{' Debian' if 'debian' in program else ''}, {label}"
            print(f"{arch:15}{title:34}{span(rates, '.0f'):>26}{statistics.median(percents):>8.0f}%" +
                  (f"{span(ratios, '.2f'):>22}" if program != "ours" else ""))
        fastest = [(statistics.median([v[0] for v in values]), statistics.median([v[2] for v in values]), k)
                   for k, values in keep.items() if k[0] == arch and k[1] != "ours"]
        for group in ("torch-debian", ""):
            inside = [x for x in fastest if x[2][1].startswith(group)]
            if inside:
                _, ratio, (_, program, label) = max(inside)
                what = "of Debian's PyTorch" if group else "of all"
                print(f"{'':15}against the fastest {what} ({program}, {label}): {ratio:.2f}")
    for (name, label, arch), bad in dead.items():
        print(f"{name}, {label}, {arch}: no figure: {bad}")
    return 0


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--preset", choices=list(PRESETS), default="micro")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    p.add_argument("--seconds", type=float, default=3, help="time measured by a peer, after its warm-up")
    p.add_argument("--csv", help="every single measurement")
    p.add_argument("--arch", help="some of " + ", ".join(ARCHITECTURES))
    p.add_argument("--peers", help="some of " + ", ".join(ALL_PEERS))
    p.add_argument("--program", default=os.path.join(ROOT, "build", "release", "infinibench"))
    p.add_argument("--variant", default="",
                   help="PEER:KEY=VALUE,... one more line for a peer; several with ;   with --tune: KEY=VALUE,... held")
    p.add_argument("--verify", action="store_true")
    p.add_argument("--tune", metavar="PEER", choices=list(ALL_PEERS))
    p.add_argument("--timeout", type=float, default=900, help="seconds a measurement may take")
    a = p.parse_args()
    if a.rounds < 1 or a.threads < 1:
        stop("--rounds and --threads are 1 or more")
    if not os.access(a.program, os.X_OK):
        stop(f"there is no program at {a.program}; build it first: make all")
    architectures, names = (a.arch or ",".join(ARCHITECTURES)).split(","), (a.peers or ",".join(ALL_PEERS)).split(",")
    for given, known in ((architectures, ARCHITECTURES), (names, ALL_PEERS)):
        for x in given:
            if x not in known:
                stop(f"'{x}' is unknown; known are {', '.join(known)}")
    r = Runner(a)
    if a.tune:
        return tune(r, a.tune, architectures[0])
    names = [n for n in names if r.installed(n)]
    if not a.verify:
        return measure(r, architectures, names)
    failed = 0
    for n in names:
        python, program, _, _, lines = ALL_PEERS[n]
        for label, variant in lines.items():
            done = r.run([python, f"{PEERS}/{program}", "--verify", a.program, "--preset", "nano", "--threads", str(a.threads), "--variant",
                          variant])
            failed += done.returncode != 0
            print(f"{n}, {label}\n{done.stdout}" + (done.stderr if done.returncode else ""), flush=True)
    print("all peers agree with our program" if not failed else f"{failed} peers differ")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
