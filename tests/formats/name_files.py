"""State dicts in files of every format that goes by PyTorch's names."""

from __future__ import annotations

import json

import torch
from name_forms import tree
from name_modules import old

FILES = ["pt", "legacy", "safetensors", "shards", "torchscript"]


def write_safetensors(path, state):
    """Write tensors as that library does."""
    header, data = {}, b""
    for name, value in state.items():
        array = value.detach().numpy()
        kind = {"f": "F32", "i": "I64"}[array.dtype.kind]
        ends = [len(data), len(data) + array.nbytes]
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": ends}
        data += array.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def write_shards(folder, state):
    """Write each tensor to a file of its own, and the index."""
    files = {name: f"{n}.safetensors" for n, name in enumerate(state)}
    for name, file in files.items():
        write_safetensors(folder / file, {name: state[name]})
    path = folder / "model.safetensors.index.json"
    path.write_text(json.dumps({"weight_map": files}))
    return path


def written(door, state, folder):
    """Write a state dict to a file."""
    path = folder / "a.pt"
    if door == "safetensors":
        return write_safetensors(folder / "a.safetensors", state)
    if door == "shards":
        return write_shards(folder, state)
    if door == "torchscript":
        old(torch.jit.save, old(torch.jit.script, tree(state)), path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=door == "pt")
    return path
