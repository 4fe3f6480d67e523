"""Writes pytorch/* and safetensors/* with PyTorch and its libraries, and what they compute.

    pip install torch safetensors huggingface_hub && python make_pytorch.py

Ran with PyTorch 2.13.0 (CPU, float32), safetensors 0.8.0 and huggingface_hub 0.36.2. Beside
<name>.pt or .safetensors, <name>_run.npz has x (T, I) and, after each step, h and c (T, L, ...) of
every layer; for LSTMs of two directions y (T, 2 ...) and the h and c (2 L, ...) at the end.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from huggingface_hub import save_torch_state_dict
from torch import nn

HERE = Path(__file__).resolve().parent
INPUTS, UNITS, STEPS = 5, 7, 24


class Model(nn.Module):
    """An LSTM within something, beside a GRU that is not one."""

    def __init__(self, rnn: nn.Module) -> None:
        super().__init__()
        self.encoder = nn.Linear(3, INPUTS)
        self.rnn = rnn
        self.gru = nn.GRU(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.rnn(x)[0]


def spread(module: nn.Module) -> nn.Module:
    """Make weights larger than they are by default, so that gates leave their linear part."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.7)
    return module


def run(path: Path, rnn: nn.Module) -> None:
    """Save what an nn.LSTM or nn.LSTMCell computes."""
    x = 2 * torch.randn(STEPS, INPUTS)
    with torch.no_grad():
        if getattr(rnn, "bidirectional", False):
            y, (h, c) = rnn(x)
            np.savez(path, x=x.numpy(), y=y.numpy(), h=h.numpy(), c=c.numpy())
            return
        state, hs, cs = None, [], []
        for t in range(STEPS):
            if isinstance(rnn, nn.LSTMCell):
                state = rnn(x[t], state)
                states = [part[None] for part in state]
            else:
                _, state = rnn(x[t : t + 1], state)
                states = state
            hs.append(states[0].numpy().copy())
            cs.append(states[1].numpy().copy())
    np.savez(path, x=x.numpy(), h=np.array(hs), c=np.array(cs))


def main() -> None:
    torch.manual_seed(7)
    torch_files, safe_files = HERE / "pytorch", HERE / "safetensors"
    modules = {
        "two_layers": nn.LSTM(INPUTS, UNITS, 2),
        "bidirectional": nn.LSTM(INPUTS, UNITS, 2, bidirectional=True),
        "projected": nn.LSTM(INPUTS, UNITS, 2, proj_size=3),
        "projected_both": nn.LSTM(INPUTS, UNITS, 2, proj_size=3, bidirectional=True, bias=False),
        "no_bias": nn.LSTM(INPUTS, UNITS, bias=False),
        "cell": nn.LSTMCell(INPUTS, UNITS),
    }
    for name, rnn in modules.items():
        spread(rnn)
        torch.save(rnn.state_dict(), torch_files / f"{name}.pt")
        safetensors.torch.save_file(rnn.state_dict(), safe_files / f"{name}.safetensors")
        for folder in (torch_files, safe_files):
            torch.manual_seed(8)
            run(folder / f"{name}_run.npz", rnn)

    model = spread(Model(nn.LSTM(INPUTS, UNITS, 2)))
    checkpoint = {"epoch": 3, "state_dict": model.state_dict(), "optimizer": {"state": {}}}
    torch.save(checkpoint, torch_files / "checkpoint.ckpt")
    torch.save(model.state_dict(), torch_files / "legacy.pth", _use_new_zipfile_serialization=False)
    torch.jit.script(model).save(str(torch_files / "scripted.jit"))
    for name in ("checkpoint", "legacy", "scripted"):
        run(torch_files / f"{name}_run.npz", model.rnn)
    (safe_files / "sharded").mkdir(exist_ok=True)
    save_torch_state_dict(model.state_dict(), safe_files / "sharded", max_shard_size=1600)
    run(safe_files / "sharded_run.npz", model.rnn)

    for name, dtype in {
        "float16": torch.float16,
        "bfloat16": torch.bfloat16,
        "float64": torch.float64,
    }.items():
        small = spread(nn.LSTM(INPUTS, UNITS)).to(dtype)
        torch.save(small.state_dict(), torch_files / f"{name}.pt")
        safetensors.torch.save_file(small.state_dict(), safe_files / f"{name}.safetensors")
        small.float()  # what a float32 LSTM computes from the stored weights
        for folder in (torch_files, safe_files):
            torch.manual_seed(9)
            run(folder / f"{name}_run.npz", small)
    torch.save(nn.GRU(INPUTS, UNITS).state_dict(), torch_files / "gru.pt")
    torch.save(Model(nn.LSTM(2, 2)), torch_files / "code.pt")


if __name__ == "__main__":
    main()
