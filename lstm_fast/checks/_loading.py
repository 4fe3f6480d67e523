"""What the command line calls a TARGET: a file, or what a Python module makes."""

from __future__ import annotations

import importlib
import inspect
import os
import shlex
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import LstmFastError
from ..formats._whole_models import load_model
from ..lstm import LSTM
from ..model import Model
from . import _whole_files, adapters
from .adapters._extras import needed
from .target import NoTargetError, Target, TargetError, theirs

__all__ = ["as_target", "load_target"]

# Weights that are run in nn.LSTM, and TorchScript.
TORCH = (
    *(".pt", ".pth", ".bin", ".ckpt", ".pkl", ".jit", ".pt2", ".nemo", ".safetensors"),
    *(".index.json", ".npz", ".eqx"),
)
KERAS = (".keras", ".h5", ".hdf5")
OURS = (".lfm", ".nam", ".aidax", ".json")  # whole models that we alone run here
WANTED = f"expected a file .onnx, {', '.join((*OURS, '.keras', *TORCH))}, or module:factory"


def load_target(
    text: str,
    *,
    name: str | None = None,
    input_size: int | None = None,
    onnx: dict[str, Any] | None = None,
    ignore: Sequence[str] = (),
    whole: bool = False,
    vad: dict[str, Any] | None = None,
) -> Target:
    """Return what the command line calls a TARGET.

    Args:
        text: a file, or module:factory. The module is looked for here, too; the factory is called
            where it can be and returns a Target or what an adapter makes one of.
        name: which LSTM of a file of torch, where it has several.
        input_size: of a torch module that does not say it.
        onnx: arguments of `adapters.from_onnx`, or of `from_onnx_model`.
        ignore: patterns of names that are left out of a file of torch.
        whole: whether an ONNX file that is more than an LSTM is a whole model.
        vad: arguments of `adapters.from_vad`, where the factory makes voice activity detectors.

    Raises:
        TargetError: it can't be run.
        OSError, FormatError: the file can't be read.
    """
    origin = _origin(text, name, input_size, onnx or {}, ignore, whole, vad)
    path = Path(text)
    if path.suffix.lower() == ".onnx":
        if not path.is_file():
            raise FileNotFoundError(f"{text}: there is no such file")
        return _whole_files.onnx_target(path, onnx or {}, origin, whole)
    if text.lower().endswith(TORCH):
        return _of_torch(path, name, input_size, ignore, origin)
    if path.suffix.lower() in OURS:
        return adapters.from_model(load_model(path), name=_of_ours(path), origin=origin)
    if path.suffix.lower() == ".keras" and path.is_file():
        try:
            return adapters.from_model(load_model(path), name=_of_ours(path), origin=origin)
        except LstmFastError as error:
            raise TargetError(
                f"{error}. To check it in Keras, give module:factory, whose model has stateful=True"
            ) from error
    if path.suffix.lower() in KERAS:
        raise TargetError(f"{text}: Keras: give module:factory, whose model has stateful=True")
    module, separator, attribute = text.partition(":")
    if not separator or not module or not attribute:
        raise TargetError(f"{text!r} is not a target: {WANTED}")
    return _of_module(module, attribute, input_size, origin, vad)


def _of_ours(path: Path) -> str:
    return f"{path.name} in lstm_fast"


def _origin(
    text: str,
    name: str | None,
    input_size: int | None,
    onnx: dict[str, Any],
    ignore: Sequence[str],
    whole: bool,
    vad: dict[str, Any] | None,
) -> str:
    more = "" if name is None else f", name={name!r}"
    more += "" if input_size is None else f", input_size={input_size}"
    more += f", ignore={list(ignore)!r}" if ignore else ""
    more += ", whole=True" if whole else ""
    more += f", vad={vad!r}" if vad else ""
    if onnx:
        parts = ", ".join(f"{name!r}: {_code(value)}" for name, value in onnx.items())
        more += f", onnx={{{parts}}}"
    return (
        f"from lstm_fast.checks.command import load_target\n\ntarget = load_target({text!r}{more})"
    )


def _code(value: Any) -> str:
    """Return Python for a value; of arrays, numbers, which do as well."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k!r}: {_code(v)}" for k, v in value.items()) + "}"
    return repr(value.item() if hasattr(value, "item") else value)


def _of_torch(
    path: Path, name: str | None, input_size: int | None, ignore: Sequence[str], origin: str
) -> Target:
    """Return TorchScript as it is, and weights in an nn.LSTM."""
    with needed("torch"):
        import torch
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file")
    torch.set_num_threads(1)  # one step is the work of one thread; others only wait for each other
    title = f"{path.name} in torch {torch.__version__}"
    if path.suffix.lower() == ".jit" or (input_size and path.suffix.lower() == ".pt"):
        with theirs(f"torch.jit.load of {path}"), warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # PyTorch 2.13: of TorchScript
            module = torch.jit.load(path)
        _refuse_own_state(module, path)
        return adapters.from_torch(module, input_size, name=title, origin=origin)
    module = _module_of(torch, path, name, ignore)
    return adapters.from_torch(module, name=title, origin=origin)


def _refuse_own_state(module: Any, path: Path) -> None:
    """Refuse TorchScript that keeps its state in itself, as that of Silero VAD does.

    Raises:
        TargetError: it does; the text says what to check instead.
    """
    if not hasattr(module, "reset_states"):
        return
    twin = path.with_suffix(".onnx")
    advice = "write a factory that returns adapters.from_sessions, where each session loads its own"
    if "silero" in path.name and twin.is_file():
        says = "--set sr=16000 --history input=64 --frame 512"
        line = f"lstm-fast check {shlex.quote(str(twin))} {says}"
        advice = f"check the ONNX file of the same model: {line}"
    raise TargetError(f"{path} keeps its state in itself (reset_states), one for all: {advice}")


def _module_of(torch: Any, path: Path, name: str | None, ignore: Sequence[str]) -> Any:
    """Return an nn.LSTM with the weights of a file; no code in the file is run."""
    from .. import formats

    options: dict[str, Any] = {"ignore": ignore} if ignore else {}
    found = formats.read(path, **options)
    weights = formats.pick(path, found, name if len(found) > 1 else None).weights
    if any(not layer.is_plain and layer.weight_hr is None for layer in weights.layers):
        raise TargetError(f"{path}: nn.LSTM does not have this variant")
    if weights.direction == "reverse":
        raise TargetError(f"{path}: nn.LSTM does not run from the last step to the first")
    first = weights.layers[0]
    module = torch.nn.LSTM(
        weights.input_size,
        weights.hidden_size,
        weights.num_layers,
        bias=first.bias_ih is not None,
        bidirectional=weights.direction == "bidirectional",
        proj_size=weights.output_size if first.weight_hr is not None else 0,
    )
    own = {name: torch.from_numpy(value) for name, value in weights.state_dict().items()}
    module.load_state_dict({name: own[name] for name in module.state_dict()})
    return module


def _of_module(
    module: str,
    attribute: str,
    input_size: int | None,
    origin: str,
    vad: dict[str, Any] | None = None,
) -> Target:
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    with theirs(f"importing {module}"):
        try:
            found: Any = importlib.import_module(module)
        except ImportError as error:
            raise TargetError(f"can't import {module}: {error}") from error
    for part in attribute.split("."):
        with theirs(f"{module}:{attribute}"):
            if not hasattr(found, part):
                raise TargetError(f"{module} has no {attribute}")
            found = getattr(found, part)
    if vad is not None:
        if not callable(found):
            raise TargetError(f"{module}:{attribute} is {type(found).__name__}, no factory of VADs")
        _check_factory(found, f"{module}:{attribute}")
        return adapters.from_vad(found, origin=origin, **vad)
    if callable(found) and (isinstance(found, type) or not _is_known(found)):
        _check_factory(found, f"{module}:{attribute}")
        with theirs(f"{module}:{attribute}()"):
            found = found()
    return as_target(found, input_size, origin)


def _check_factory(factory: Any, name: str) -> None:
    """Refuse a function that wants arguments, such as one step of an LSTM.

    Raises:
        TargetError: it can't be called without arguments, or is async.
    """
    if inspect.iscoroutinefunction(factory):
        raise TargetError(f"{name} is an async function; a factory is an ordinary one")
    try:
        wanted = inspect.signature(factory)
    except (TypeError, ValueError):  # of what is written in C it may not be known
        return
    try:
        wanted.bind()
    except TypeError:
        raise TargetError(
            f"{name}{wanted} takes arguments; a factory is called without any, and returns a "
            "Target, such as adapters.from_function(step, input_size, hidden_size)"
        ) from None


def _libraries(value: Any) -> set[str]:
    """Return the libraries that a value's classes come from."""
    return {one.__module__.partition(".")[0] for one in type(value).__mro__}


def _is_known(value: Any) -> bool:
    """Say whether `as_target` takes it as it is."""
    return isinstance(value, (Target, LSTM, Model)) or bool(_libraries(value) & {"torch", "keras"})


def as_target(value: Any, input_size: int | None = None, origin: str | None = None) -> Target:
    """Return a target of what an adapter makes one of, by its type.

    Raises:
        TargetError: there is no adapter for it.
    """
    if isinstance(value, Target):
        value.origin = value.origin or origin
        return value
    if isinstance(value, LSTM):
        return adapters.from_lstm(value, origin=origin)
    if isinstance(value, Model):
        return adapters.from_model(value, origin=origin)
    roots = _libraries(value)
    # Keras before torch: its layers are torch modules where torch is its backend.
    if "keras" in roots:
        return adapters.from_keras(value, input_size, origin=origin)
    if "torch" in roots:
        return adapters.from_torch(value, input_size, origin=origin)
    if callable(getattr(value, "step", None)) and callable(getattr(value, "reset", None)):
        kind = type(value).__name__
        raise NoTargetError(f"{kind} is one session; a target makes a new one each time", kind)
    raise TargetError(
        f"{type(value).__name__} is neither a Target nor what an adapter knows, which is an LSTM, "
        "a Model, a torch module or a Keras model: lstm_fast.checks.adapters makes a Target of "
        "others, with from_function, from_sessions, ...; of a voice activity detector with "
        "from_vad, in the shell --sampling-rate 16000"
    )
