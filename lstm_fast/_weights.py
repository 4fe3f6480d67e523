"""Weights of a stack, read from PyTorch's names and checked whole before anything is built."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ._arrays import Float32, to_float32

PARAMETER = re.compile(
    r"(weight_ih|weight_hh|weight_hr|bias_ih|bias_hh)(?:_l(0|[1-9][0-9]{0,5}))?(_reverse)?"
)
WEIGHT_DTYPES = ("float32", "float16", "int8")
FLOAT16_OVERFLOW = 65520.0  # what rounds to more than its largest value, 65504
INT8_COLUMNS = (2**31 - 1) // (127 * (127 + 128))
KINDS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


@dataclass(frozen=True)
class LayerWeights:
    """One layer, float32, read-only, PyTorch's layout, gates i, f, g, o."""

    weight_ih: Float32  # (4H, I)
    weight_hh: Float32  # (4H, H)
    bias_ih: Float32 | None = None  # (4H,)
    bias_hh: Float32 | None = None  # (4H,)


@dataclass(frozen=True)
class Weights:
    """A stack of layers whose shapes fit each other."""

    layers: tuple[LayerWeights, ...]

    @property
    def input_size(self) -> int:
        return int(self.layers[0].weight_ih.shape[1])

    @property
    def hidden_size(self) -> int:
        return int(self.layers[0].weight_hh.shape[1])

    def state_dict(self) -> dict[str, Float32]:
        """Return copies under the names of `torch.nn.LSTM`."""
        return {
            f"{kind}_l{n}": value.copy()
            for n, layer in enumerate(self.layers)
            for kind in KINDS
            if (value := getattr(layer, kind)) is not None
        }


def _index(mapping: Mapping[str, Any], prefix: str) -> dict[int, dict[str, str]]:
    """Return the mapping's own names by layer and kind; refuse what the plain LSTM can't be."""
    names: dict[int, dict[str, str]] = {}
    for name in mapping:
        if not isinstance(name, str) or not name.startswith(prefix):
            continue
        match = PARAMETER.fullmatch(name[len(prefix) :])
        if not match:
            continue
        kind, layer, reverse = match.groups()
        if kind == "weight_hr":
            raise ValueError(f"{name}: an LSTM with projection (proj_size) is not supported")
        if reverse:
            raise ValueError(f"{name}: a bidirectional LSTM cannot be stepped frame by frame")
        kinds = names.setdefault(int(layer or 0), {})
        if kind in kinds:
            raise ValueError(f"both {kinds[kind]} and {name} are given; they mean the same layer")
        kinds[kind] = name
    return names


def _missing(mapping: Mapping[str, Any], name: str, prefix: str) -> ValueError:
    text = f"{name} is missing"
    others = sorted(
        {
            key[: -len(end)]
            for key in mapping
            if isinstance(key, str)
            for end in ("weight_ih", "weight_ih_l0")
            if key.endswith(end) and key != prefix + end
        }
    )
    if others:
        text += "; there are LSTM weights under " + ", ".join(f"prefix={o!r}" for o in others[:5])
    elif mapping:
        text += "; the mapping has " + ", ".join(map(repr, list(mapping)[:5]))
        text += ", ..." if len(mapping) > 5 else ""
    return ValueError(text)


def _take(mapping: Mapping[str, Any], name: str, shape: tuple[int | None, ...]) -> Float32:
    what = "expected %s: 4 * hidden_size rows, gates i, f, g, o"
    value = np.array(to_float32(mapping[name], name, shape, what, free="input_size"))
    finite = np.isfinite(value)
    if not finite.all():
        where = tuple(int(i) for i in np.argwhere(~finite)[0])
        found = np.asarray(mapping[name])[where]
        raise ValueError(f"{name} is not finite in float32: {found} at {list(where)}")
    if value.size == 0:
        raise ValueError(f"{name} has shape {value.shape}, expected an input_size of 1 or more")
    value.flags.writeable = False
    return value


def _hidden_size(mapping: Mapping[str, Any], name: str) -> int:
    shape = to_float32(mapping[name], name, None, "").shape
    if len(shape) != 2 or shape[1] == 0 or shape[0] != 4 * shape[1]:
        hint = " (it looks transposed)" if len(shape) == 2 and shape[1] == 4 * shape[0] else ""
        raise ValueError(f"{name} has shape {shape}, expected (4 * hidden_size, hidden_size){hint}")
    return int(shape[1])


def read_weights(mapping: Mapping[str, Any], prefix: str = "") -> Weights:
    """Read a stack from a state dict of `torch.nn.LSTM` or `torch.nn.LSTMCell`.

    Args:
        mapping: names to values, each anything that `np.asarray` takes; other names are ignored.
        prefix: what stands before the names, such as "model.decoder.rnn.".

    Raises:
        TypeError: mapping is no mapping, or values are not real numbers.
        ValueError: a weight is missing, misshapen, not finite or of an unsupported variant.
    """
    if not isinstance(mapping, Mapping):
        raise TypeError(f"expected a mapping of names to arrays, found {type(mapping).__name__}")
    if not isinstance(prefix, str):
        raise TypeError(f"prefix must be a string, found {type(prefix).__name__}")
    names = _index(mapping, prefix)
    suffix = "" if names.get(0, {}).get("weight_hh") == prefix + "weight_hh" else "_l0"
    if "weight_hh" not in names.get(0, {}):
        raise _missing(mapping, f"{prefix}weight_hh{suffix}", prefix)
    hidden_size = _hidden_size(mapping, names[0]["weight_hh"])
    has_bias = any("bias" in kind for kinds in names.values() for kind in kinds)
    layers = []
    for n in range(max(names) + 1):
        kinds = names.get(n, {})
        values: dict[str, Float32] = {}
        for kind in KINDS if has_bias else KINDS[:2]:
            if kind not in kinds:
                raise _missing(mapping, f"{prefix}{kind}{suffix if n == 0 else f'_l{n}'}", prefix)
            columns = {"weight_ih": None if n == 0 else hidden_size, "weight_hh": hidden_size}
            shape = (4 * hidden_size, columns[kind]) if kind in columns else (4 * hidden_size,)
            values[kind] = _take(mapping, kinds[kind], shape)
        _check_bias_sum(values, kinds)
        layers.append(LayerWeights(**values))
    return Weights(tuple(layers))


def _check_bias_sum(values: dict[str, Float32], kinds: dict[str, str]) -> None:
    if "bias_ih" not in values:
        return
    with np.errstate(over="ignore"):
        if not np.isfinite(values["bias_ih"] + values["bias_hh"]).all():
            raise ValueError(f"{kinds['bias_ih']} + {kinds['bias_hh']} overflows float32")


def check_weight_dtype(weights: Weights, weight_dtype: str) -> None:
    """Refuse a dtype that is unknown, or that can't hold these weights.

    Raises:
        TypeError: weight_dtype is no string.
        ValueError: it is none of WEIGHT_DTYPES; a weight is too large for float16; or a row has so
            many int8 products that their sum could overflow 32 bits.
    """
    if not isinstance(weight_dtype, str):
        raise TypeError(f"weight_dtype must be a string, found {type(weight_dtype).__name__}")
    if weight_dtype not in WEIGHT_DTYPES:
        raise ValueError(
            f"there is no weight_dtype {weight_dtype!r}; choose one of {', '.join(WEIGHT_DTYPES)}"
        )
    for n, layer in enumerate(weights.layers):
        for kind in ("weight_ih", "weight_hh"):
            value: Float32 = getattr(layer, kind)
            largest = float(np.abs(value).max())
            if weight_dtype == "float16" and largest >= FLOAT16_OVERFLOW:
                raise ValueError(f"{kind}_l{n} reaches {largest:g}, float16 only 65504")
            if weight_dtype == "int8" and value.shape[1] > INT8_COLUMNS:
                raise ValueError(
                    f"{kind}_l{n} has {value.shape[1]} columns, int8 can sum {INT8_COLUMNS} exactly"
                )


def random_weights(
    input_size: int, hidden_size: int, num_layers: int, seed: int | None, bias: bool
) -> Weights:
    """Draw weights as PyTorch does by default: uniform in +-1 / sqrt(hidden_size), biases too."""
    if seed is not None and (not isinstance(seed, (int, np.integer)) or seed < 0):
        raise ValueError(f"seed must be a whole number of 0 or more, or None, found {seed!r}")
    rng = np.random.Generator(np.random.PCG64(seed))
    bound = 1 / np.sqrt(hidden_size)

    def draw(*shape: int) -> Float32:
        value: Float32 = ((2 * rng.random(shape) - 1) * bound).astype(np.float32)
        value.flags.writeable = False
        return value

    rows = 4 * hidden_size
    layers = []
    for n in range(num_layers):
        weight_ih = draw(rows, input_size if n == 0 else hidden_size)
        weight_hh = draw(rows, hidden_size)
        b_ih, b_hh = (draw(rows), draw(rows)) if bias else (None, None)
        layers.append(LayerWeights(weight_ih, weight_hh, b_ih, b_hh))
    return Weights(tuple(layers))
