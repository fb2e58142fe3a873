#!/usr/bin/env python3
"""byte_pairs.py CORPUS [BYTES] - bits per byte of the test split for a model that knows the last byte only: pairs counted on the train split,
of the first BYTES (65536) of each text, 0.02 added to each count. CORPUS is a folder with train/*.txt and test/*.txt (docs/data.md)."""
import glob
import math
import os
import sys
from collections import Counter


def texts(split):
    names = sorted(glob.glob(os.path.join(sys.argv[1], split, "*.txt")))
    if not names:
        sys.exit(f"byte_pairs.py: there is no text in {os.path.join(sys.argv[1], split)}")
    for name in names:
        with open(name, "rb") as f:
            yield f.read(limit)


if len(sys.argv) not in (2, 3):
    sys.exit(__doc__)
limit = int(sys.argv[2]) if len(sys.argv) == 3 else 65536
pairs = Counter()
for text in texts("train"):
    pairs.update(zip(text, text[1:]))
firsts = Counter()
for (first, _), count in pairs.items():
    firsts[first] += count
bits = total = 0
for text in texts("test"):
    for (first, second), count in Counter(zip(text, text[1:])).items():
        bits -= count * math.log2((pairs[first, second] + 0.02) / (firsts[first] + 256 * 0.02))
    total += len(text) - 1
print(f"{bits / total:.3f} bits per byte, {total} bytes")
