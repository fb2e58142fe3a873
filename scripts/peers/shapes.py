"""shapes.py - the shapes that are compared; harness/presets.c has them too, and bench_peers.py holds both against each other."""

ARCHITECTURES = ("infini-linear", "infini-delta", "infini-none", "transformer")
# Name: layers, d_model, heads, head size, FFN, segment, segments, batch, vocabulary.
PRESETS = {
    "nano": (2, 64, 2, 32, 128, 32, 4, 4, 256),
    "micro": (4, 128, 4, 32, 352, 128, 4, 4, 256),
    "tiny": (6, 256, 4, 64, 704, 256, 4, 4, 256),
}
