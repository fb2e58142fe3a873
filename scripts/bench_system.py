#!/usr/bin/env python3
"""What allocator, page size, thread binding and waiting do to a training step: one run, variants taken in turn, medians and ratios.

Usage: scripts/bench_system.py [--preset micro] [--architecture infini] [--rounds 3] [--csv FILE]
Needs build/release/infinibench and Python's standard library. Variants whose library is not installed are left out and named.
Run it on an idle machine: a busy core makes every OpenMP barrier wait."""
import argparse
import csv
import ctypes
import ctypes.util
import os
import statistics
import subprocess
import sys
import tempfile

PR_SET_THP_DISABLE = 41  # <linux/prctl.h>; kept over exec


def no_huge_pages():
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_THP_DISABLE)")


def preload(name):
    found = ctypes.util.find_library(name)
    return {"LD_PRELOAD": found} if found else None


VARIANTS = [
    ("as it is", {}, None),
    ("4 KiB pages only", {}, no_huge_pages),
    ("jemalloc", preload("jemalloc"), None),
    ("tcmalloc", preload("tcmalloc_minimal") or preload("tcmalloc"), None),
    ("threads wait asleep", {"OMP_WAIT_POLICY": "passive"}, None),
    ("threads wait spinning", {"OMP_WAIT_POLICY": "active"}, None),
    ("threads bound to cores", {"OMP_PROC_BIND": "true"}, None),
    ("one thread", {"OMP_NUM_THREADS": "1"}, None),
    ("two processes of one thread", {"OMP_NUM_THREADS": "1"}, None),
]


def start(program, options, env, before):
    file = tempfile.NamedTemporaryFile(mode="r", suffix=".csv")
    child = subprocess.Popen(
        [program, "bench", "train", "--preset", options.preset, "--only", options.architecture, "--csv", file.name],
        env={**os.environ, **env}, preexec_fn=before, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    return child, file


def rates(child, file):
    _, words = child.communicate()
    if child.returncode != 0:
        sys.exit(f"infinibench bench train failed: {words.strip()}")
    return {line["name"]: float(line["rate"]) for line in csv.DictReader(file)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="micro")
    parser.add_argument("--architecture", default="infini")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--csv")
    options = parser.parse_args()
    program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "build", "release", "infinibench")
    if not os.access(program, os.X_OK):
        sys.exit(f"{program} is not there; run make all")
    variants = [v for v in VARIANTS if v[1] is not None]
    for name, env, _ in VARIANTS:
        if env is None:
            print(f"left out: {name} (not installed)")
    measured = {name: {} for name, _, _ in variants}
    for _ in range(options.rounds):
        for name, env, before in variants:  # taken in turn, so that a busy minute hits all
            together = [start(program, options, env, before) for _ in range(2 if name.startswith("two processes") else 1)]
            for model in (all_rates := [rates(*x) for x in together])[0]:
                measured[name].setdefault(model, []).append(sum(r[model] for r in all_rates))
    lines = []
    for model in measured[variants[0][0]]:
        base = measured[variants[0][0]][model]
        for name, _, _ in variants:
            own = measured[name][model]
            ratios = [a / b for a, b in zip(own, base)]
            lines.append((options.preset, model, name, round(statistics.median(own)), round(statistics.median(ratios), 3),
                          round(min(ratios), 3), round(max(ratios), 3), options.rounds))
    heads = ("preset", "model", "variant", "tokens_per_second", "ratio", "ratio_low", "ratio_high", "rounds")
    print(f"{'model':20s} {'variant':30s} {'tokens/s':>9s} {'ratio to as it is (range over rounds)':>38s}")
    for x in lines:
        print(f"{x[1]:20s} {x[2]:30s} {x[3]:9d} {x[4]:22.3f} ({x[5]:.3f} - {x[6]:.3f})")
    if options.csv:
        with open(options.csv + ".tmp", "w", newline="") as out:
            csv.writer(out).writerows([heads, *lines])
        os.replace(options.csv + ".tmp", options.csv)


main()
