#!/usr/bin/env python3
"""quotation_marks.py RESULTS... [--references FILE.jsonl...] - quotation marks in 100 words of what models said (texts/CELL.jsonl.gz of
results folders) by row, split, condition and tokens read, and of the references of summarize's corpora. Who goes on with a story instead of
telling one writes dialogue (README, Table 4)."""
import collections
import csv
import glob
import gzip
import json
import os
import sys


def said(folder, count):
    with open(os.path.join(folder, "results.csv"), newline="") as f:
        cells = {r["cell"]: (r["row"], r["split"]) for r in csv.DictReader(f)}
    for path in sorted(glob.glob(os.path.join(folder, "texts", "*.jsonl.gz"))):
        row = cells.get(os.path.basename(path).split(".")[0])
        with gzip.open(path, "rt", encoding="utf-8") as f:
            for line in f if row else []:
                text = json.loads(line)
                count[row + (text["condition"] or "-", text["context"])] += counted(text["prediction"])


def counted(text):
    return collections.Counter(marks=sum(text.count(c) for c in '"“”'), words=len(text.split()), texts=1)


def main():
    count, references = collections.defaultdict(collections.Counter), False
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    for argument in sys.argv[1:]:
        if argument == "--references":
            references = True
        elif references:
            with open(argument, encoding="utf-8") as f:
                for book in map(json.loads, f):
                    for text in book.get("summaries") or [book["summary"]]:
                        count["references", os.path.basename(argument), "-", 0] += counted(text)
        else:
            said(argument, count)
    for key, n in sorted(count.items()):
        print("%-15s %-26s %-14s %7d tokens read  %5.1f  (%d texts, %d words)"
              % (key + (100 * n["marks"] / max(n["words"], 1), n["texts"], n["words"])))


main()
