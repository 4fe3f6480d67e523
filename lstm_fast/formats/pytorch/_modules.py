"""The LSTMs of a PyTorch module that is at hand.

Its state dict is read by names, as that of a file. But weights that the module computes before each
step, by a parametrisation or a hook of PyTorch's, are taken as it would compute them in evaluation,
to the bit; the module itself is left as it is.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from ..._arrays import Float32
from ..._budget import Budget
from ..._parameter_names import PIECE, prefixes
from .. import _state_dicts
from .._files import FormatError, Found, Refused, checked
from .._state_dicts import Tensor

NAMED = 1000  # bytes that a tensor is worth beside its values: nothing here is untrusted
# Of an LSTM, and not of a Linear; the last, of one that is trained for quantization.
QUANTIZED = ("_all_weight_values", "_packed_weight_ih", "layers.0.layer_fw.cell.igates.weight")


def from_module(module: Any, *, ignore: str | Iterable[str] = ()) -> list[Found | Refused]:
    """Return every LSTM in a module: `torch.nn.LSTM`, `torch.nn.LSTMCell`, or one that has some.

    Batches, dropout and the mode of training are not theirs to keep. A weight that is computed (by
    weight norm, spectral norm, pruning, any parametrisation) is what it is in evaluation.

    Args:
        module: the module.
        ignore: patterns of names, as of `fnmatch`, of parameters that are left out.

    Raises:
        FormatError: there are only cells of other kinds, or none that can be computed.
        TypeError: it is not a module.

    Example:
        >>> import torch
        >>> class Turns(torch.nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.rnn, self.head = torch.nn.LSTM(3, 4), torch.nn.Linear(4, 2)
        >>> [(one.name, one.weights.hidden_size) for one in from_module(Turns())]
        [('rnn', 4)]
    """
    import torch

    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"expected a torch.nn.Module, found {type(module).__name__}")
    title = type(module).__name__
    state = module.state_dict()
    tensors = {
        name: _tensor(title, name, value)
        for name, value in state.items()
        if isinstance(value, torch.Tensor)
    }
    modules = dict(module.named_modules(remove_duplicate=False))
    refused = _quantized(title, state)
    with_lstm = set(prefixes(tensors))
    for path, part in modules.items():
        prefix = f"{path}." if path else ""
        if prefix not in with_lstm:
            continue
        try:
            _replace_computed(title, prefix, part, tensors)
        except FormatError as error:
            refused.append(Refused(path, error))
            for name in [one for one in tensors if one.startswith(prefix)]:
                if PIECE.fullmatch(name, len(prefix)):
                    del tensors[name]
    size = sum(8 * math.prod(tensor.shape) for tensor in tensors.values())
    found = _state_dicts.find(title, tensors, Budget(title, NAMED * len(state) + size), ignore)
    if refused and not found:
        raise refused[0].error
    found = [*(_with_its_class(one, modules) for one in found), *refused]
    return sorted(found, key=lambda one: one.name)


def _tensor(title: str, name: str, value: Any) -> Tensor:
    import torch

    dtype = str(value.dtype).removeprefix("torch.")
    shape = () if torch.nn.parameter.is_lazy(value) else tuple(value.shape)
    return Tensor(shape, f"{name}, {dtype}", partial(_read, title, name, value))


def _read(title: str, name: str, value: Any) -> Float32:
    import torch

    kinds = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
    if value.dtype not in kinds or value.layout != torch.strided or value.is_meta:
        raise FormatError(
            f"{title}: {name}: a tensor of {value.dtype}, {value.layout} on {value.device}; "
            "expected a plain one of float32, float16, bfloat16 or float64"
        )
    result: Float32 = value.detach().to("cpu", torch.float32).contiguous().numpy()
    return result


def _quantized(title: str, state: Iterable[str]) -> list[Refused]:
    """Return one for each module that PyTorch quantized as a whole, or made ready for that."""
    prefixes = {
        name[: name.index(word)]: None for name in state for word in QUANTIZED if word in name
    }
    return [
        Refused(
            prefix.removesuffix("."),
            FormatError(f"{title}: {prefix}*: quantized by PyTorch; convert the float model"),
        )
        for prefix in prefixes
    ]


# ---- weights that are computed -------------------------------------------------------------------


def _replace_computed(title: str, prefix: str, module: Any, tensors: dict[str, Tensor]) -> None:
    """Put what a module computes under the names of what it computes, in the place of its pieces.

    Raises:
        FormatError: it raises something itself.
    """
    # Long names first: a piece that is computed, such as weight_hh_l0_v, is there for the weight.
    for name, says, compute in sorted(_computed(module), key=lambda one: -len(one[0])):
        if PIECE.fullmatch(name) is None:
            continue
        full = prefix + name
        value = _compute(title, full, compute)
        pieces = [f"{full}{end}" for end in ("_g", "_v", "_u", "_orig", "_mask")]
        stored = f"{prefix}parametrizations.{name}."
        for piece in [one for one in tensors if one in pieces or one.startswith(stored)]:
            del tensors[piece]
        source = f"{full}, computed by {says}"
        tensors[full] = replace(_tensor(title, full, value), source=source)


def _compute(title: str, name: str, compute: Callable[[], Any]) -> Any:
    import torch

    with torch.no_grad(), checked(title, name, Exception):
        value = compute()
        if not isinstance(value, torch.Tensor):
            raise TypeError(f"it is computed as a {type(value).__name__}, expected a tensor")
        return value


def _computed(module: Any) -> Iterator[tuple[str, str, Callable[[], Any]]]:
    """Yield each tensor that the module computes: its name, by what, and a function that does."""
    import torch

    if torch.nn.utils.parametrize.is_parametrized(module):
        for name, parametrizations in module.parametrizations.items():
            says = ", ".join(type(one).__name__ for one in parametrizations)
            yield name, says, partial(_in_evaluation, parametrizations)
    # Each module of torch.nn.utils is hidden by a function of its name.
    weight_norm = importlib.import_module("torch.nn.utils.weight_norm").WeightNorm
    spectral_norm = importlib.import_module("torch.nn.utils.spectral_norm").SpectralNorm
    pruning = importlib.import_module("torch.nn.utils.prune").BasePruningMethod
    for hook in module._forward_pre_hooks.values():
        says = type(hook).__name__
        if isinstance(hook, weight_norm):
            yield hook.name, says, partial(hook.compute_weight, module)
        elif isinstance(hook, spectral_norm):
            yield hook.name, says, partial(hook.compute_weight, module, do_power_iteration=False)
        elif isinstance(hook, pruning):
            yield hook._tensor_name, says, partial(hook.apply_mask, module)


def _in_evaluation(module: Any) -> Any:
    """Return what a module without arguments gives in evaluation."""
    return _twin(module)()


def _twin(module: Any) -> Any:
    """Return a module in evaluation that shares every tensor, and nothing else, with this one."""
    twin = object.__new__(type(module))
    twin.__dict__.update(module.__dict__)
    for name in ("_parameters", "_buffers"):
        twin.__dict__[name] = dict(getattr(module, name))
    children = {
        name: None if child is None else _twin(child) for name, child in module._modules.items()
    }
    twin.__dict__.update(training=False, _modules=children)
    return twin


# ---- what the class says -------------------------------------------------------------------------


def _with_its_class(found: Found | Refused, modules: dict[str, Any]) -> Found | Refused:
    """Add what is assumed where the module's class is none of PyTorch's."""
    if isinstance(found, Refused):
        return found
    path = found.name if found.name in modules else found.name.rpartition(".")[0]
    module = modules.get(path)
    if module is None or _computes_an_lstm(module):
        return found
    name = getattr(module, "original_name", type(module).__name__)
    text = f"{name} is taken to compute what torch.nn.LSTM does with weights of these names"
    return replace(found, assumptions=(*found.assumptions, text))


def _computes_an_lstm(module: Any) -> bool:
    """Whether its forward is PyTorch's, with no hooks around it but PyTorch's own."""
    import torch

    if isinstance(module, torch.jit.ScriptModule):
        return module.original_name in ("LSTM", "LSTMCell")
    plain = (torch.nn.LSTM, torch.nn.LSTMCell)
    is_plain = any(type(module).forward is one.forward for one in plain)
    hooks = [*module._forward_hooks.values(), *module._forward_pre_hooks.values()]
    own = all(type(hook).__module__.startswith("torch.nn.utils.") for hook in hooks)
    return is_plain and own and "forward" not in vars(module)
