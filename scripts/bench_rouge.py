#!/usr/bin/python3
"""bench_rouge.py - ROUGE: our program and the Python package rouge_score on the same pairs in one run, pairs per second.

  scripts/bench_rouge.py [--rounds 5] [--csv FILE]

Scored are rouge1, rouge2, rougeL and rougeLsum with stemming, texts in memory on both sides: passages of the King James text in lines of
20 words, the candidate a passage with words left out, exchanged and added. Every value is compared first (1e-12). Rounds alternate;
a ratio is taken within a round, shown are medians with the least and the greatest. The package uses one thread; ours is measured with
one and with all. Without the package the script says how to install it and ends with 0.
"""
import argparse
import csv
import glob
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
VENV = os.path.join(ROOT, "build", "peers", "rouge")
KINDS = ["rouge1", "rouge2", "rougeL", "rougeLsum"]
SHAPES = {"100 words": (100, 100), "400 words": (20, 400), "1000 words": (4, 1000)}  # pairs, words of the reference

try:
    from rouge_score import rouge_scorer
except ImportError:
    other = os.path.join(VENV, "bin", "python")
    if os.path.exists(other) and os.path.realpath(sys.prefix) != os.path.realpath(VENV):
        os.execv(other, [other, os.path.abspath(__file__)] + sys.argv[1:])
    print("the Python package rouge_score is not installed and left out; install it with: python3 -m venv build/peers/rouge && "
          "build/peers/rouge/bin/pip install rouge_score==0.1.2 nltk")
    sys.exit(0)


def stop(text):
    sys.exit("bench_rouge.py: " + text)


def lines(words):
    return "\n".join(" ".join(words[i:i + 20]) for i in range(0, len(words), 20))


def make_pairs(r, words, count, length):
    pairs = []
    for _ in range(count):
        at = r.randrange(len(words) - 2 * length)
        text = words[at:at + length]
        other = [w if r.random() < 0.7 else r.choice(words) for w in text if r.random() < 0.9]
        other += words[at + length:at + length + length // 10]
        pairs.append({"prediction": lines(other), "summary": lines(text)})
    return pairs


def ours(program, path, folder):
    """{threads: pairs per second}"""
    words = [program, "--quiet", "bench", "rouge", "--jsonl", path, "--csv", folder + "/b.csv"]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        stop(f"{program} bench rouge: {done.stderr.strip()}")
    with open(folder + "/b.csv") as f:
        return {int(x["shape"].split()[0]): float(x["rate"]) for x in csv.DictReader(f)}


def compare(program, path, folder, pairs, scorer):
    """Largest difference of any value."""
    done = subprocess.run([program, "--quiet", "rouge", "--jsonl", path, "--csv", folder + "/p.csv"], capture_output=True, text=True)
    if done.returncode:
        stop(f"{program} rouge: {done.stderr.strip()}")
    worst = 0
    with open(folder + "/p.csv") as f:
        for row, pair in zip(csv.DictReader(f), pairs, strict=True):
            for kind, s in scorer.score(pair["summary"], pair["prediction"]).items():
                for name, x in (("precision", s.precision), ("recall", s.recall), ("f1", s.fmeasure)):
                    worst = max(worst, abs(float(row[f"{kind}_{name}"]) - x))
    return worst


def spread(x):
    digits = 0 if max(x) >= 100 else 2
    return f"{statistics.median(x):.{digits}f} ({min(x):.{digits}f}–{max(x):.{digits}f})"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--program", default=os.path.join(ROOT, "build", "release", "infinibench"))
    p.add_argument("--csv", metavar="FILE")
    a = p.parse_args()
    if a.rounds < 1:
        stop("--rounds is 1 or more")
    if not os.access(a.program, os.X_OK):
        stop(f"there is no program at {a.program}; build it first: make all")
    files = sorted(glob.glob(os.path.join(ROOT, "build", "data", "kjv", "train", "*.txt")))
    if not files:
        stop("there is no text in build/data/kjv; make it first: scripts/prepare_kjv.sh build/data/kjv")
    words = [w for f in files for w in open(f, encoding="ascii").read().split()]
    scorer, r, rows = rouge_scorer.RougeScorer(KINDS, use_stemmer=True), random.Random(1), []
    with tempfile.TemporaryDirectory() as folder:
        for shape, (count, length) in SHAPES.items():
            pairs, path = make_pairs(r, words, count, length), f"{folder}/{shape.split()[0]}.jsonl"
            with open(path, "w") as f:
                f.writelines(json.dumps(x) + "\n" for x in pairs)
            worst = compare(a.program, path, folder, pairs, scorer)
            if not worst <= 1e-12:
                stop(f"{shape}: a value differs by {worst:g} from rouge_score's")
            package, mine = [], []
            for _ in range(a.rounds):
                start = time.perf_counter()
                for x in pairs:
                    scorer.score(x["summary"], x["prediction"])
                package.append(count / (time.perf_counter() - start))
                mine.append(ours(a.program, path, folder))
            most = max(mine[0])
            print(f"{shape}, {count} pairs, largest difference of a value {worst:g}\n"
                  f"  rouge_score, pairs/s        {spread(package)}")
            for threads in sorted({1, most}):
                rate = [x[threads] for x in mine]
                ratio = [x / y for x, y in zip(rate, package)]
                print(f"  ours, threads: {threads}, pairs/s    {spread(rate)}; ratio {spread(ratio)}", flush=True)
                rows += [(shape, count, i, threads, package[i], rate[i], ratio[i]) for i in range(a.rounds)]
    if a.csv:
        with open(a.csv, "w", newline="") as f:
            w = csv.writer(f)
            w.writerow(("shape", "pairs", "round", "threads", "package_pairs_per_second", "our_pairs_per_second", "ratio"))
            w.writerows(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
