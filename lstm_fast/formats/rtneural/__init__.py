"""RTNeural's JSON: chains of layers as it and AIDA-X read them, and GuitarML's and Proteus' models.

    {"in_shape": [null, null, 1],
     "layers": [{"type": "lstm", "activation": "", "shape": [null, null, 16],
                 "weights": [kernel (I, 4H), recurrent kernel (H, 4H), bias (4H,)]},
                {"type": "dense", "activation": "", "shape": [null, null, 1], "weights": [...]}]}

The weights are Keras's: gates i, f, c, o of an LSTM and z, r, h of a GRU. AIDA-X's files say three
things more: in_skip (1: the first input is added to what comes out), and in_gain and out_gain in
dB. What GuitarML's trainer writes is in `_guitarml`. Facts are from RTNeural's model_loader.h and
model_utils.py, AIDA-X's aidadsp-plugin.cpp, Proteus' RTNeuralLSTM.cpp, CoreAudioML's networks.py.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from ..._shown import shown
from ..._source import Readable, Source
from ..._weights import make_weights
from ...program import Program
from .. import _json
from .._files import FormatError, Found, Refused, checked
from .._inventory import counted, listed
from .._recognise_ours import FORMATS
from . import _guitarml, _layers
from ._arrays import number
from ._layers import MOST_LAYERS

SUFFIXES, recognise = FORMATS["rtneural"]
SILENCE_DB = -90.0  # at or below which AIDA-X's gains are 0
WARM_UP = "streams start from zeros; AIDA-X runs 2048 samples of silence before the first sample"


def read(path: Readable) -> list[Found | Refused]:
    """Return the LSTMs of the file; layers of one size that follow each other are a stack.

    Raises:
        OSError: the file cannot be opened.
        FormatError: it is damaged, or no LSTM in it can be computed.
    """
    source = Source.of(path)
    content = _content(source)
    if "layers" not in content:
        return _guitarml.read(source, content)
    layers = _listed(source, content)
    found: list[Found | Refused] = []
    first = 0
    while first < len(layers):
        end = first
        while end < len(layers) and _follows(layers[first], layers[end]):
            end += 1
        if end > first:
            found.append(_stack(source, content, layers, first, end))
        first = max(end, first + 1)
    return found


def _follows(first: dict[str, Any], layer: dict[str, Any]) -> bool:
    """Return whether both are LSTMs of one size, as the layers of a stack are."""
    shapes = (first.get("shape"), layer.get("shape"))
    widths = [shape[-1] if isinstance(shape, list) and shape else None for shape in shapes]
    return first.get("type") == layer.get("type") == "lstm" and widths[0] == widths[1]


def _stack(
    source: Source, content: dict[str, Any], layers: list[dict[str, Any]], first: int, end: int
) -> Found | Refused:
    name, made = f"layer {first}", []
    below = layers[first - 1] if first else None
    try:
        for n in range(first, end):
            with checked(source, _title(n, layers[n])):
                width = (
                    _layers.width_of(content, "in_shape")
                    if below is None
                    else _layers.width_of(below, "shape")
                )
                made.append(_layers.lstm_weights(layers[n], width, source.budget))
            below = layers[n]
        with checked(source, name):
            weights = make_weights(made)
    except FormatError as error:
        return Refused(name, error)
    sources = {}
    for n in range(first, end):
        for kind, text in {
            "weight_ih": "array 0, transposed, gates ifco",
            "weight_hh": "array 1, transposed, gates ifco",
            "bias_ih": "array 2, the sum of PyTorch's two, gates ifco",
            "bias_hh": "zeros",
        }.items():
            sources[f"{kind}_l{n - first}"] = f"layer {n}: {text}"
    parts = tuple(f"layer {n}" for n in range(first, end)) if end - first > 1 else ()
    which = f"layer {first}" if len(made) == 1 else f"layers {first} to {end - 1}"
    note = f"it is {which} of {len(layers)}, counted from 0: lstm_fast.load_model reads them all"
    return Found(name, weights, sources, (note,), (), parts)


def program(source: Source) -> Program:
    """Return the whole model as a program: what a player makes of one sample.

    Raises:
        OSError: the file cannot be opened.
        FormatError: it is damaged, or has a layer that is not computed here.
    """
    content = _content(source)
    if "layers" not in content:
        return _guitarml.program(source, content)
    layers = _listed(source, content)
    for n, layer in enumerate(layers):
        with checked(source, _title(n, layer)):
            _layers.check_type(layer)
    with checked(source, "in_shape"):
        width = _layers.width_of(content, "in_shape")
        chain = _layers.Chain(width, source.budget, _layers.frames_of(content, "in_shape"))
    if not layers:
        raise FormatError(f"{source}: layers: there is none")
    before, after, skip = _player(source, content)
    writer = chain.writer
    with checked(source, "in_gain"):
        _scale(chain, before, only_first=True)
    given = chain.tensor
    for n, layer in enumerate(layers):
        writer.source = _title(n, layer)
        with checked(source, writer.source):
            _layers.add(chain, layer)
    writer.source = "in_skip, out_gain"
    with checked(source, writer.source):
        if skip:
            if chain.width != 1:
                raise ValueError(
                    f"in_skip is 1, and there are {chain.width} outputs: AIDA-X has one"
                )
            first = writer.emit("slice", given, starts=(0,), ends=(1,), steps=(1,))
            chain.tensor = writer.emit("add", chain.tensor, first)
        _scale(chain, after, only_first=False)
    for note in _notes(content, chain):
        writer.note(note)
    return writer.program(("input", chain.given), ("output", chain.tensor))


def _player(source: Source, content: dict[str, Any]) -> tuple[float, float, bool]:
    """Return what AIDA-X scales the sample and the result by, and whether the sample is added."""
    with checked(source, "what AIDA-X reads"):
        gains = []
        for name in ("in_gain", "out_gain"):
            decibels = number(content, name, 0.0)
            gains.append(10 ** (min(decibels, 1000.0) / 20) if decibels > SILENCE_DB else 0.0)
        skip = content.get("in_skip", 0)
        if type(skip) is not int or skip not in (0, 1):
            raise ValueError(f"in_skip is {shown(skip)}, expected 0 or 1")
    return gains[0], gains[1], bool(skip)


def _scale(chain: _layers.Chain, gain: float, *, only_first: bool) -> None:
    """Multiply with a gain; of inputs only the first, which is the sample."""
    if gain == 1:
        return
    chain.budget.memory(3 * 4 * chain.width, "as many gains as values")
    factors = np.ones(chain.width, np.float32)
    with np.errstate(over="ignore"):
        factors[: 1 if only_first else None] = gain
    if not np.isfinite(factors).all():
        raise ValueError("the gain is not finite in float32")
    chain.apply("mul", factors)


def _notes(content: dict[str, Any], chain: _layers.Chain) -> list[str]:
    notes = []
    facts = content.get("metadata")
    rate = (facts if isinstance(facts, dict) else content).get("samplerate")
    if isinstance(rate, (str, int, float)) and not isinstance(rate, bool):
        notes.append(f"its sample rate is {str(rate)[:20]} Hz")
    if content.get("in_skip"):
        notes.append("the first input is added to the result, as in_skip has it in AIDA-X")
    if chain.writer.tensor(chain.given).shape[0] > 1:
        notes.append(_guitarml.KNOBS)
    return [*notes, WARM_UP]


def _title(n: int, layer: dict[str, Any]) -> str:
    return f"layer {n} ({shown(layer.get('type'))})"


def _content(source: Source) -> dict[str, Any]:
    content = _json.parse(source, "JSON", _json.text_of(source))
    if isinstance(content, dict) and ("layers" in content or _guitarml.is_state_dict(content)):
        return content
    raise FormatError(
        f"{source}: there are no layers and no state_dict in it; it is not a file of RTNeural, "
        "AIDA-X or GuitarML"
    )


def _listed(source: Source, content: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the layers, of which each is an object."""
    layers = content["layers"]
    if not isinstance(layers, list) or not all(isinstance(one, dict) for one in layers):
        raise FormatError(f"{source}: layers: they are not a list of JSON objects")
    if len(layers) > MOST_LAYERS:
        raise FormatError(f"{source}: layers: there are {len(layers)}, more than {MOST_LAYERS}")
    return layers


def inventory(source: Source) -> str:
    """Return in words what there is in a file without an LSTM."""
    content = _content(source)
    if "layers" not in content:
        return f"there are tensors {listed(_guitarml.tensors(source, content))}"
    layers = _listed(source, content)
    text = f"there are layers {counted(Counter(str(layer.get('type')) for layer in layers))}"
    for layer in layers:
        try:
            _layers.check_type(layer)
        except ValueError as error:
            return f"{text}: {error}"
    return f"{text}: lstm_fast.load_model reads layers of these types"
