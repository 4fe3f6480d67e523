"""The LSTMs of a PyTorch module that is at hand."""

from __future__ import annotations

from functools import partial
from typing import Any

from .._arrays import Float32
from . import _state_dicts
from ._files import FormatError, Found
from ._state_dicts import Tensor

QUANTIZED = ("_all_weight_values", "_packed_params")


def _is_tensor(value: Any) -> bool:
    import torch

    return isinstance(value, torch.Tensor)


def _tensor(path: object, name: str, value: Any) -> Tensor:
    dtype = str(value.dtype).removeprefix("torch.")
    source = f"{name}, {dtype}"
    return Tensor(tuple(value.shape), source, partial(_read_tensor, path, name, value))


def _read_tensor(path: object, name: str, value: Any) -> Float32:
    import torch

    kinds = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
    if value.dtype not in kinds or value.layout != torch.strided or value.is_meta:
        raise FormatError(
            f"{path}: {name}: a tensor of {value.dtype}, {value.layout} on {value.device}; "
            "expected a plain one of float32, float16, bfloat16 or float64"
        )
    result: Float32 = value.detach().to("cpu", torch.float32).contiguous().numpy()
    return result


def from_module(module: Any) -> list[Found]:
    """Return every LSTM in a module: `torch.nn.LSTM`, `torch.nn.LSTMCell`, or one that has some.

    Batches, dropout and the mode of training are not theirs to keep.

    Raises:
        FormatError: there are only cells of other kinds, or weights that are no plain tensors.
    """
    title = type(module).__name__
    state = module.state_dict()
    if any(word in name for name in state for word in QUANTIZED):
        raise FormatError(f"{title}: quantized by PyTorch; convert the float model")
    tensors = {
        name: _tensor(title, name, value) for name, value in state.items() if _is_tensor(value)
    }
    size = sum(4 * value.numel() for value in state.values() if _is_tensor(value))
    return _state_dicts.find(title, tensors, size)
