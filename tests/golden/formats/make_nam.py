"""Writes nam/*.nam with Neural Amp Modeler's own exporter, and beside each what it computes.

    pip install neural-amp-modeler && python make_nam.py

Ran with neural-amp-modeler 0.13.0 and PyTorch 2.13.0 (CPU, float32). Beside each lies an .npz:
x (T,) samples; h and c (T, L, H) after each, from the exported initial state;
y (T,), the head of h.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from nam.models.recurrent import LSTM

HERE = Path(__file__).resolve().parent / "nam"


def make(name: str, steps: int, **sizes: int) -> None:
    torch.manual_seed(5)
    model = LSTM(**sizes).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
        h, c = (part[:, 0] for part in model._get_initial_state())  # where export says to start
        model.export(HERE, basename=name)
        x = torch.randn(1, steps, 1)
        state, states = (h, c), []
        for t in range(steps):
            y, state = model._core(x[0, t : t + 1], state)
            states.append((*(part.numpy().copy() for part in state), model._head(y).item()))
    hs, cs, ys = (np.array(part, np.float32) for part in zip(*states, strict=True))
    np.savez_compressed(HERE / f"{name}.npz", x=x[0, :, 0].numpy(), h=hs, c=cs, y=ys)
    path = HERE / f"{name}.nam"
    content = json.loads(path.read_text())
    del content["metadata"]["date"]  # so that making it again gives the same bytes
    path.write_text(json.dumps(content))


if __name__ == "__main__":
    HERE.mkdir(exist_ok=True)
    make("one_layer", 40, hidden_size=7)
    make("two_layers", 40, hidden_size=5, num_layers=2)
