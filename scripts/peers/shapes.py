"""shapes.py - the shapes that are compared; harness/presets.c has them too, and bench_peers.py holds both against each other."""

ARCHITECTURES = ("infini-linear", "infini-delta", "infini-none", "transformer")
# Name: layers, d_model, heads, head size, FFN, segment, segments, batch, vocabulary.
PRESETS = {
    "nano": (2, 64, 2, 32, 128, 32, 4, 4, 256),
    "micro": (4, 128, 4, 32, 352, 128, 4, 4, 256),
    "tiny": (6, 256, 4, 64, 704, 256, 4, 4, 256),
    # For a GPU; of the paper's size a step of one row and four segments (bench --batch 1 --segments 4).
    "small": (8, 512, 8, 64, 1408, 512, 8, 8, 256),
    "paper": (12, 1024, 8, 128, 4096, 2048, 4, 1, 32000),
}
