"""JSON of PyTorch models: what GuitarML, Proteus and CoreAudioML write, and bare state dicts.

    {"model_data": {"model": "SimpleRNN", "unit_type": "LSTM", "skip": 1, ...},
     "state_dict": {"rec.weight_ih_l0": [[...]], ..., "lin.weight": [[...]], "lin.bias": [...]}}

A SimpleRNN is a recurrent layer, or several, and a linear one, and adds the first `skip` inputs to
what comes out. A RecNet is a chain of such blocks, of which each may do so, and the net likewise
(CoreAudioML's networks.py). A bare state dict is read as LSTMs alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from ..._arrays import Float32
from ..._lstm_program import add_layer
from ..._shown import shown
from ..._source import Source
from ..._weights import LayerWeights
from ...program import Program
from .. import _state_dicts
from .._files import FormatError, Found, Refused, checked
from .._state_dicts import Tensor
from ._arrays import array, shape_of, size
from ._layers import MOST_LAYERS, Chain, add_gru, check

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
STEPS_A_TENSOR = 100  # of which each may be an LSTM that is refused
PROTEUS = (
    "Proteus takes the level of its knob times 2.5 before it, and adds the input whatever skip is; "
    "here nothing is scaled"
)
KNOBS = "the first input is the sample, the others are the knobs"


def is_state_dict(content: dict[str, Any]) -> bool:
    """Return whether it is of this kind and not of layers."""
    state = content.get("state_dict", content)
    return isinstance(state, dict) and any("weight_ih" in name for name in state)


def tensors(source: Source, content: dict[str, Any]) -> dict[str, Tensor]:
    """Return the tensors of a state dict by name; what is not a list of numbers is left out."""
    state = content.get("state_dict", content)
    if not isinstance(state, dict):
        raise FormatError(f"{source}: state_dict: it is {shown(state)}, expected a JSON object")
    found = {}
    for name, value in state.items():
        source.budget.work(STEPS_A_TENSOR, "reading its tensors")
        if isinstance(value, list):
            with checked(source, f"state_dict: {name!r}"):
                shape = shape_of(value)
            found[name] = Tensor(shape, f"{name!r}", partial(_read, source, name, value))
    return found


def _read(source: Source, name: str, value: Any) -> Float32:
    with checked(source, f"state_dict: {name!r}"):
        return array(value, source.budget)


def read(source: Source, content: dict[str, Any]) -> list[Found | Refused]:
    """Return the LSTMs of a state dict.

    Raises:
        FormatError: it is damaged, or no LSTM in it can be computed.
    """
    return _state_dicts.find(source, tensors(source, content), source.budget)


@dataclass(frozen=True)
class _Block:
    """A recurrent layer or several, a linear one, and how many inputs are added."""

    prefix: str
    unit: str
    inputs: int
    hidden: int
    layers: int
    outputs: int
    skip: int


def _block(prefix: str, facts: dict[str, Any], unit: Any, usual_skip: int) -> _Block:
    if not isinstance(unit, str) or unit not in GATES:
        raise ValueError(f"its recurrent layer is {shown(unit)}; {', '.join(GATES)} are computed")
    inputs, hidden = size(facts, "input_size"), size(facts, "hidden_size")
    layers, outputs = size(facts, "num_layers", 1), size(facts, "output_size", 1)
    return _Block(prefix, unit, inputs, hidden, layers, outputs, _skip(facts, usual_skip))


def _skip(facts: dict[str, Any], usual: int) -> int:
    skip = facts.get("skip", usual)
    if type(skip) not in (int, bool) or not 0 <= skip < 2**31:
        raise ValueError(f"skip is {shown(skip)}, expected how many inputs are added")
    return int(skip)


def _blocks(source: Source, content: dict[str, Any]) -> tuple[list[_Block], int]:
    """Return the blocks of a model, and how many of its inputs are added to what comes out."""
    facts = content.get("model_data")
    if not isinstance(facts, dict):
        raise FormatError(
            f"{source}: there is no model_data in it, which says what is around the recurrent "
            "layer: lstm_fast.load reads an LSTM alone"
        )
    with checked(source, "model_data"):
        model = facts.get("model", "SimpleRNN")
        if model == "SimpleRNN":
            return [_block("", facts, facts.get("unit_type", "LSTM"), 1)], 0
        if model != "RecNet":
            raise ValueError(
                f"its model is {shown(model)}, which is not computed here; SimpleRNN and RecNet are"
            )
        listed = content.get("blocks")
        if not isinstance(listed, dict) or not listed:
            raise ValueError("a RecNet has blocks, and there are none")
        blocks = []
        for n in range(len(listed)):
            source.budget.work(20)
            one = listed.get(str(n))
            if not isinstance(one, dict):
                raise ValueError(f"block {n} is {shown(one)}, expected a JSON object")
            blocks.append(_block(f"layers.block_{n + 1}.", one, one.get("block_type"), 1))
        return blocks, _skip(facts, 0)


def program(source: Source, content: dict[str, Any]) -> Program:
    """Return the whole model as a program: one step for one sample.

    Raises:
        FormatError: it is damaged, or of a kind that is not computed here.
    """
    blocks, skip = _blocks(source, content)
    if (count := sum(block.layers for block in blocks)) > MOST_LAYERS:
        raise FormatError(
            f"{source}: model_data: it has {count} recurrent layers, more than {MOST_LAYERS}"
        )
    state = tensors(source, content)
    with checked(source, "model_data"):
        chain = Chain(blocks[0].inputs, source.budget)
    used: set[str] = set()
    for block in blocks:
        chain.writer.source = block.prefix.removesuffix(".") or "rec, lin"
        with checked(source, chain.writer.source):
            _add_block(chain, block, state, used)
    with checked(source, "skip"):
        _add_inputs(chain, chain.given, skip)
    if left := sorted(set(state) - used):
        raise FormatError(f"{source}: state_dict: {left[0]!r} is not part of such a model")
    if chain.writer.tensor(chain.given).shape[0] > 1:
        chain.writer.note(KNOBS)
    chain.writer.note(PROTEUS)
    return chain.writer.program(("input", chain.given), ("output", chain.tensor))


def _add_block(chain: Chain, block: _Block, state: dict[str, Tensor], used: set[str]) -> None:
    if chain.width != block.inputs:
        raise ValueError(f"its input_size is {block.inputs}, but it gets {chain.width} values")
    before = chain.tensor
    for n in range(block.layers):
        rows = GATES[block.unit] * block.hidden
        shapes = [(rows, chain.width), (rows, block.hidden), (rows,), (rows,)]
        kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        names = [f"{block.prefix}rec.{kind}_l{n}" for kind in kinds]
        weights = [_take(state, *both, used) for both in zip(names, shapes, strict=True)]
        UNITS[block.unit](chain, weights)
    weight = _take(state, f"{block.prefix}lin.weight", (block.outputs, block.hidden), used)
    bias = []
    if f"{block.prefix}lin.bias" in state:
        bias = [_take(state, f"{block.prefix}lin.bias", (block.outputs,), used)]
    chain.apply("dense", weight, *bias)
    _add_inputs(chain, before, block.skip)


def _take(state: dict[str, Tensor], name: str, shape: tuple[int, ...], used: set[str]) -> Float32:
    if name not in state:
        raise ValueError(f"{name} is missing in its state_dict")
    used.add(name)
    if state[name].shape != shape:
        raise ValueError(f"{name} has shape {state[name].shape}, expected {shape}")
    value = state[name].read()
    check(value, name, shape)
    return value


def _add_inputs(chain: Chain, inputs: int, skip: int) -> None:
    """Add the first so many inputs, by PyTorch's rules of broadcasting."""
    width = chain.writer.tensor(inputs).shape[0]
    skip = min(skip, width)  # as a slice of PyTorch's has it
    if not skip:
        return
    if skip != chain.width and 1 not in (skip, chain.width):
        raise ValueError(f"skip is {skip}, which cannot be added to {chain.width} outputs")
    first = chain.writer.emit("slice", inputs, starts=(0,), ends=(skip,), steps=(1,))
    chain.tensor = chain.writer.emit("add", chain.tensor, first)


def _lstm(chain: Chain, weights: list[Float32]) -> None:
    w_ih, w_hh, b_ih, b_hh = weights
    layer = LayerWeights(w_ih, w_hh, b_ih, b_hh)
    chain.tensor = add_layer(chain.writer, chain.tensor, chain.recurrent, layer)
    chain.recurrent += 1


def _gru(chain: Chain, weights: list[Float32]) -> None:
    add_gru(chain, *weights)


def _rnn(chain: Chain, weights: list[Float32]) -> None:
    """H' = tanh(W_ih x + b_ih + W_hh h + b_hh), which is all that `torch.nn.RNN` has by default."""
    writer = chain.writer
    w_ih, w_hh, b_ih, b_hh = weights
    h = writer.state(f"h_l{chain.recurrent}", (len(w_hh),))
    chain.apply("dense", w_ih, b_ih)
    own = writer.emit("dense", h, writer.constant(w_hh), writer.constant(b_hh))
    chain.tensor = writer.emit("tanh", writer.emit("add", chain.tensor, own))
    writer.keep(h, chain.tensor)
    chain.recurrent += 1


UNITS = {"LSTM": _lstm, "GRU": _gru, "RNN": _rnn}
