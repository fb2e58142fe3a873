#!/usr/bin/env python3
"""A model that infinibench knows nothing of, judged by infinibench: a GRU over bytes in PyTorch.

It is trained on the train folder of a corpus with about the parameters (0.87 M) and the tokens (1.23 M) of the rows of
tasks/experiments/quick.ini, then reads every document of the test folder from its start and writes the negative log-likelihood of
each byte, in nats, to OUT/DOCUMENT.npy. `infinibench score` does the rest: docs/scoring.md. Needs PyTorch and NumPy
(Debian: python3-torch, python3-numpy), no GPU; a few minutes on one core.
"""
import argparse
import pathlib
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

BOS = 0  # byte 0 stands before every document and never occurs in one


def documents(folder):
    """Name and bytes of each text, as infinibench lists them: regular files but hidden ones and *.csv, in order of their names."""
    files = sorted(pathlib.Path(folder).iterdir(), key=lambda f: f.name.encode())
    return [(f.name, f.read_bytes()) for f in files if f.is_file() and not f.name.startswith(".") and f.suffix != ".csv"]


def scored(text, limit):
    """The bytes that are scored with --limit: the first ones, cut before a UTF-8 sequence that does not fit."""
    if not limit or len(text) <= limit:
        return text
    while (text[limit] & 0xC0) == 0x80:
        limit -= 1
    return text[:limit]


class Model(nn.Module):
    def __init__(self, width=432, embedding=128):
        super().__init__()
        self.embed = nn.Embedding(256, embedding)
        self.gru = nn.GRU(embedding, width, batch_first=True)
        self.head = nn.Linear(width, 256)

    def forward(self, tokens, state=None):
        out, state = self.gru(self.embed(tokens), state)
        return self.head(out), state


def train(model, texts, steps, rows=16, length=128, rate=3e-3):
    """Each row walks through its part of the texts; the state goes on from step to step."""
    stream = torch.from_numpy(np.frombuffer(b"".join(bytes([BOS]) + t for t in texts), dtype=np.uint8).astype(np.int64))
    part = len(stream) // rows
    stream = stream[: rows * part].view(rows, part)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.1)
    state, at, start = None, 0, time.time()
    for step in range(steps):
        if at + length + 1 > part:
            state, at = None, 0
        logits, state = model(stream[:, at : at + length], state)
        loss = F.cross_entropy(logits.reshape(-1, 256), stream[:, at + 1 : at + length + 1].reshape(-1))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        state, at = state.detach(), at + length
        if step % 100 == 99:
            print(f"step {step + 1}: {loss.item() / np.log(2):.3f} bits per byte, {time.time() - start:.0f} s", flush=True)


@torch.no_grad()
def nll(model, text, chunk=4096):
    """-log p of each byte given all before it; the first is predicted from BOS, so there are as many values as bytes."""
    targets = torch.from_numpy(np.frombuffer(text, dtype=np.uint8).astype(np.int64))
    inputs = torch.cat([torch.tensor([BOS]), targets[:-1]])
    state, out = None, []
    for at in range(0, len(targets), chunk):
        logits, state = model(inputs[None, at : at + chunk], state)
        out.append(F.cross_entropy(logits[0], targets[at : at + chunk], reduction="none"))
    return torch.cat(out).numpy()


def main():
    parser = argparse.ArgumentParser(description="Train a small GRU on bytes and write its NLL files for infinibench score.")
    parser.add_argument("--corpus", default="build/data/kjv")
    parser.add_argument("--split", default="test")
    parser.add_argument("--limit", type=int, default=0, help="bytes of each document that are scored, 0: all")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", required=True, help="folder for DOCUMENT.npy")
    args = parser.parse_args()
    if args.steps < 20:
        parser.error("--steps should be 20 or more: the first tenth warms the learning rate up")
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    model = Model()
    print(f"{sum(p.numel() for p in model.parameters())} parameters")
    train(model, [t for _, t in documents(f"{args.corpus}/train")], args.steps)
    out = pathlib.Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    for name, text in documents(f"{args.corpus}/{args.split}"):
        values = nll(model, scored(text, args.limit))
        np.save(out / f"{name}.npy", values.astype(np.float32))
        print(f"{name}: {len(values)} bytes, {values.astype(np.float64).mean() / np.log(2):.4f} bits per byte")


if __name__ == "__main__":
    main()
