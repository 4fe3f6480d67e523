"""Neural Amp Modeler's .nam: the LSTM architecture, with its trained initial state.

The file is JSON, its weights one flat list of numbers:

    for each layer   [W_ih W_hh] (4H, I + H) row by row, gates i, f, g, o; bias (4H,);
                     the hidden state (H,) and the cell state (H,) to start from
    the head         weight (outputs, H) row by row, bias (outputs,)

An LSTM here gives h of the last layer; the head makes the sound of it, as `load_model` has both:

    weight, bias = lstm_fast.formats.nam.head("amp.nam")
    sample = weight @ stream.step(x) + bias
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .._arrays import Float32
from .._lstm_program import add_layer
from .._program_writer import Writer
from .._source import Readable, Source
from .._weights import LayerWeights, make_weights
from ..program import Program
from . import _json, gates
from ._files import FormatError, Found, checked
from ._inventory import brief
from ._recognise_ours import FORMATS

SUFFIXES, recognise = FORMATS["nam"]
WARM_UP = (
    "streams start from the file's own state; Neural Amp Modeler's players then run half a second "
    "of silence before the first sample"
)
RATE = "it does not say its sample rate; Neural Amp Modeler takes 48000 Hz then"
LEVELS = {  # what the metadata may say, none of which changes what is computed
    "loudness": "its loudness is {:g} dB, which players may level out; here nothing is scaled",
    "gain": "its gain is {:g}, a figure for how much it distorts; here nothing is scaled",
    "input_level_dbu": "its input was {:g} dBu at full scale; here nothing is scaled",
    "output_level_dbu": "its output was {:g} dBu at full scale; here nothing is scaled",
}


FLOAT64_BYTES, FLOAT32_BYTES = 8, 4
PARSED_BYTES = _json.COSTS[b","]  # of a number that was parsed
LAYER_STEPS, LAYER_BYTES = 500, 8192  # of one layer, beside its values


class _Model(NamedTuple):
    """Sizes that fit the number of weights, and the weights."""

    values: Float32  # flat
    input_size: int
    hidden_size: int
    num_layers: int
    outputs: int

    def layer_length(self, layer: int) -> int:
        columns = self.hidden_size + (self.hidden_size if layer else self.input_size)
        return 4 * self.hidden_size * (columns + 1) + 2 * self.hidden_size

    @property
    def head_length(self) -> int:
        return self.outputs * (self.hidden_size + 1)

    @property
    def expected(self) -> int:
        above = (self.num_layers - 1) * self.layer_length(1)
        return self.layer_length(0) + above + self.head_length


def read(path: Readable) -> list[Found]:
    """Return the LSTM of the file; what its head is, see `head`.

    Raises:
        OSError: the file cannot be opened.
        FormatError: it is damaged, or of another architecture.
    """
    source = Source.of(path)
    model = _model(source, _content(source))
    layers, sources = _layers(source, model), {}
    for n in range(model.num_layers):
        part = f"layer {n}"
        for kind, text in {
            "weight_ih": "the first columns of W, gates ifgo",
            "weight_hh": "the last columns of W, gates ifgo",
            "bias_ih": "the bias, which is the sum of PyTorch's two",
            "bias_hh": "zeros",
            "h_0": "the initial hidden state",
            "c_0": "the initial cell state",
        }.items():
            sources[f"{kind}_l{n}"] = f"{part} of weights: {text}"
    with checked(source, "weights"):
        weights = make_weights(layers)
    note = (
        f"the head, {model.hidden_size} to {model.outputs}, follows the LSTM and is not part of "
        "it: lstm_fast.formats.nam.head(source) returns its weight and bias"
    )
    return [Found("", weights, sources, (note, WARM_UP))]


def head(path: Readable) -> tuple[Float32, Float32]:
    """Return weight (outputs, H) and bias (outputs,): the output is weight @ h + bias.

    Raises:
        OSError: the file cannot be opened.
        FormatError: it is damaged, or of another architecture.
    """
    source = Source.of(path)
    return _head(source, _model(source, _content(source)))


def program(source: Source) -> Program:
    """Return amp and head as a program: what a player makes of one sample, in the file's scale.

    Raises:
        OSError: the file cannot be opened.
        FormatError: it is damaged, or of another architecture.
    """
    content = _content(source)
    model, writer = _model(source, content), Writer()
    with checked(source, "config"):
        given = x = writer.value((model.input_size,))
    for n, layer in enumerate(_layers(source, model)):
        writer.source = f"layer {n}"
        with checked(source, writer.source):
            x = add_layer(writer, x, n, layer)
    writer.source = "head"
    with checked(source, "head"):
        y = writer.emit("dense", x, *map(writer.constant, _head(source, model)))
    for note in (*_notes(content), WARM_UP):
        writer.note(note)
    return writer.program(("input", given), ("output", y))


def _notes(content: dict[str, Any]) -> list[str]:
    """Return what the file says of itself, and what is not done with it here."""
    notes = []
    if isinstance(version := content.get("version"), str):
        notes.append(f"a file of version {version[:20]}")
    rate = content.get("sample_rate")
    notes.append(f"its sample rate is {rate:g} Hz" if _is_number(rate) else RATE)
    metadata = content.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    notes += [text.format(metadata[k]) for k, text in LEVELS.items() if _is_number(metadata.get(k))]
    return notes


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and abs(value) < 1e9  # type: ignore[arg-type]


def _head(source: Source, model: _Model) -> tuple[Float32, Float32]:
    values = model.values[model.expected - model.head_length :]
    if not np.isfinite(values).all():
        raise FormatError(f"{source}: head: there are values that are not finite in float32")
    weight = values[: -model.outputs].reshape(model.outputs, model.hidden_size)
    return weight.copy(), values[-model.outputs :].copy()


def _layers(source: Source, model: _Model) -> list[LayerWeights]:
    layers, start = [], 0
    source.budget.work(LAYER_STEPS * model.num_layers, "its layers")
    source.budget.memory(LAYER_BYTES * model.num_layers + 3 * model.values.nbytes, "its layers")
    for n in range(model.num_layers):
        end = start + model.layer_length(n)
        with checked(source, f"layer {n} (counted from 0)"):
            layers.append(_layer(model, n, model.values[start:end]))
        start = end
    return layers


def _layer(model: _Model, layer: int, values: Float32) -> LayerWeights:
    size = model.hidden_size
    inputs = size if layer else model.input_size
    matrix, bias, h_0, c_0 = np.split(
        values, np.cumsum([4 * size * (inputs + size), 4 * size, size])
    )
    matrix = gates.to_pytorch(matrix.reshape(4 * size, inputs + size), "pytorch")
    bias = gates.to_pytorch(bias, "pytorch")
    w_ih, w_hh = matrix[:, :inputs], matrix[:, inputs:]
    return LayerWeights(w_ih, w_hh, bias, np.zeros_like(bias), h_0=h_0, c_0=c_0)


def _read(source: Source) -> bytes:
    source.budget.memory(source.size if source.path else 0)
    return _json.text_of(source)


def _content(source: Source) -> dict[str, Any]:
    """Return what the file holds, of the architecture that is read here."""
    content = _json.parse(source, "JSON", _read(source))
    if not isinstance(content, dict) or "architecture" not in content:
        raise FormatError(f"{source}: there is no architecture in it; it is no .nam file")
    if content["architecture"] != "LSTM":
        raise FormatError(
            f"{source}: its architecture is {brief(content['architecture'], 40)!r}; only 'LSTM' is "
            "read: get the amp as an LSTM, or train it as one"
        )
    return content


def _model(source: Source, content: dict[str, Any]) -> _Model:
    """Return its sizes, checked against the number of its weights, and these."""
    config = content.get("config")
    if not isinstance(config, dict):
        raise FormatError(f"{source}: config: it is not a JSON object")
    sizes = [_size(source, config, n) for n in ("input_size", "hidden_size", "num_layers")]
    outputs = _size(source, config, "out_channels") if "out_channels" in config else 1
    numbers = content.pop("weights", None)
    if not isinstance(numbers, list) or not all(type(n) in (float, int) for n in numbers):
        raise FormatError(f"{source}: weights: they are not a list of numbers")
    source.budget.memory((FLOAT64_BYTES + FLOAT32_BYTES) * len(numbers), "weights")
    with checked(source, "weights", OverflowError), np.errstate(over="ignore"):
        values = np.array(numbers, np.float64).astype(np.float32)
    # The numbers are free again with the array of float64.
    source.budget.give_back((PARSED_BYTES + FLOAT64_BYTES) * len(numbers))
    model = _Model(values, sizes[0], sizes[1], sizes[2], outputs)
    if len(values) != model.expected:
        raise FormatError(
            f"{source}: weights: there are {len(values)}, an LSTM of input_size {sizes[0]}, "
            f"hidden_size {sizes[1]}, num_layers {sizes[2]} and a head take {model.expected}"
        )
    return model


def _size(source: Source, config: dict[str, Any], name: str) -> int:
    size = config.get(name)
    if type(size) is not int or not 1 <= size < 2**31:
        raise FormatError(f"{source}: config: {name} is {brief(size, 40)}, expected 1 or more")
    return size
