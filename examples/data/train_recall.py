"""Train the small LSTM of examples/recall.py to recall a symbol over a gap, and write its weights.

    python examples/data/train_recall.py    # needs torch; about a minute

The task is described there. Gaps of at most 20 symbols are trained, and no longer ones, so how far
the memory carries beyond that is what the example finds out. Seeds and the number of threads are
fixed: the same PyTorch on the same CPU writes the same files.

It writes recall.safetensors, the LSTM in lstm_fast's canonical form, and recall_head.npz, the
linear layer from its last hidden state to the symbols (weight (V, H), bias (V,)).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

from lstm_fast.formats import safetensors
from lstm_fast.formats.pytorch import from_module

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
from recall import FRAME_SIZE, KEPT, SYMBOLS, make_frames  # noqa: E402  # beside this script's directory

HIDDEN_SIZE = 20
TRAINED_GAP = 20
BATCH = 64
SEED = 0


def batch(rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Return sequences of one random gap, (BATCH, T, I), and the symbols asked for, (BATCH,)."""
    gap = int(rng.integers(0, TRAINED_GAP + 1))
    symbols = rng.integers(0, len(SYMBOLS), (BATCH, KEPT + gap))
    questions = rng.integers(0, KEPT, BATCH)
    frames = [make_frames(row, question) for row, question in zip(symbols, questions, strict=True)]
    return torch.from_numpy(np.stack(frames)), torch.from_numpy(symbols[range(BATCH), questions])


def train(steps: int) -> tuple[nn.LSTM, nn.Linear]:
    """Return the LSTM and the head after that many batches; prints how it goes."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)  # sums of several threads have no fixed order
    rng = np.random.default_rng(SEED)
    lstm = nn.LSTM(FRAME_SIZE, HIDDEN_SIZE, batch_first=True)
    head = nn.Linear(HIDDEN_SIZE, len(SYMBOLS))
    parameters = [*lstm.parameters(), *head.parameters()]
    optimiser = torch.optim.Adam(parameters, lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for step in range(1, steps + 1):
        frames, gold = batch(rng)
        scores = head(lstm(frames)[0][:, -1])
        loss = nn.functional.cross_entropy(scores, gold)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        schedule.step()
        if step % max(1, steps // 10) == 0:
            right = (scores.argmax(1) == gold).float().mean()
            print(f"batch {step}: loss {loss.item():.4f}, {float(right):.0%} right")
    return lstm, head


def main(argv: list[str] | None = None) -> int:
    """Train and write both files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=6000, help="batches to train (%(default)s)")
    parser.add_argument("--out", type=Path, default=HERE, help="where to write (%(default)s)")
    options = parser.parse_args(argv)
    lstm, head = train(options.steps)
    (found,) = from_module(lstm)
    options.out.mkdir(parents=True, exist_ok=True)
    safetensors.write(options.out / "recall.safetensors", found.weights)
    np.savez(
        options.out / "recall_head.npz",
        weight=head.weight.detach().numpy(),
        bias=head.bias.detach().numpy(),
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
