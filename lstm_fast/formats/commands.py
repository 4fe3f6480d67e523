"""`lstm-fast inspect FILE` and `lstm-fast convert IN OUT.safetensors`."""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import sys
import textwrap
from collections.abc import Iterator
from typing import Any

from .. import formats
from .._weights import Weights
from . import safetensors
from ._files import FormatError, Found, Refused

DESCRIPTION_OF_CONVERT = (
    "Writes one LSTM of a file as safetensors: weights under PyTorch's names, its variant in the "
    "metadata. lstm_fast loads it back exactly, with NumPy alone."
)


def add(commands: Any) -> None:
    """Add both to the subcommands of a parser."""
    inspect = commands.add_parser("inspect", help="what LSTMs there are in a file")
    _add_input(inspect)
    inspect.add_argument("--json", action="store_true", help="as JSON")
    inspect.set_defaults(command=_failing_with_one(_inspect))
    text = "write an LSTM of any format as safetensors"
    convert = commands.add_parser("convert", help=text, description=DESCRIPTION_OF_CONVERT)
    _add_input(convert)
    convert.add_argument("out", metavar="OUT.safetensors")
    convert.add_argument("--name", help="which LSTM, where there are several; inspect lists them")
    convert.set_defaults(command=_failing_with_one(_convert))


def _add_input(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE")
    parser.add_argument("--format", help="instead of finding out: " + ", ".join(formats.READERS))
    parser.add_argument(
        "--forget-bias", type=float, metavar="B", help="of TensorFlow 1, which does not store it"
    )
    parser.add_argument(
        "--ignore",
        action="append",
        metavar="PATTERN",
        help="of PyTorch and safetensors: leave tensors of such names out; repeatable",
    )
    parser.add_argument(
        "--option",
        type=_option,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="another option of the format, such as recurrent_activation=sigmoid of Keras; several "
        "times for several",
    )


def _option(text: str) -> tuple[str, Any]:
    """Return an option's name and value: a number, true, false, a list, or else text."""
    name, equals, value = text.partition("=")
    if not name.isidentifier() or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, math.inf if value == "inf" else value


def _failing_with_one(command: Any) -> Any:
    """Return a command that says in one line what is wrong with a file, and exits with 1."""

    def run(options: argparse.Namespace) -> int:
        try:
            command(options)
        except BrokenPipeError:
            raise
        except (FormatError, OSError, TypeError, ValueError) as error:
            print(f"lstm-fast: {_printable(str(error))}", file=sys.stderr)
            return 1
        return 0

    return run


def _read(options: argparse.Namespace) -> list[Found | Refused]:
    given = {"forget_bias": options.forget_bias, "ignore": options.ignore}
    extra = dict(options.option)
    extra |= {name: value for name, value in given.items() if value is not None}
    return formats.read(options.file, options.format, **extra)


def _inspect(options: argparse.Namespace) -> None:
    found = _read(options)
    if options.json:
        print(json.dumps([_facts(one) for one in found], indent=2))
        return
    if not found:
        raise formats.no_lstm(options.file)
    count = "1 LSTM" if len(found) == 1 else f"{len(found)} LSTMs"
    if refused := sum(isinstance(one, Refused) for one in found):
        count += f", {refused} of them refused"
    print(f"{_printable(options.file)}: {count}")
    width = min(max(shutil.get_terminal_size().columns, 60), 120)
    for one in found:
        print()
        for line in _lines(one, width):
            print(line)


def _convert(options: argparse.Namespace) -> None:
    if not options.out.endswith(".safetensors"):
        raise ValueError(f"{options.out}: the name of what is written has to end in .safetensors")
    if os.path.exists(options.out) and os.path.samefile(options.file, options.out):
        raise ValueError(f"{options.out}: that is the file to be read")
    found = formats.pick(options.file, _read(options), options.name)
    safetensors.write(options.out, found.weights)
    for text in found.assumptions:
        print(f"lstm-fast: assumed: {_printable(text)}", file=sys.stderr)
    name = _printable(found.name) or "the LSTM"
    print(f"{_printable(options.out)}: {name}, {_sizes(found.weights)}")


def _printable(text: str) -> str:
    """Return text in one line that any terminal can show; names in files can be anything."""
    encoding = sys.stdout.encoding or "utf-8"
    text = text.encode(encoding, "backslashreplace").decode(encoding)
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def _sizes(weights: Weights) -> str:
    parts = [f"input {weights.input_size}", f"hidden {weights.hidden_size}"]
    if weights.output_size != weights.hidden_size or weights.layers[0].weight_hr is not None:
        parts.append(f"projected to {weights.output_size}")
    layers = weights.num_layers
    parts.append(f"{layers} layer" if layers == 1 else f"{layers} layers")
    return ", ".join(parts)


def _variant(weights: Weights) -> list[str]:
    """Return what differs from the plain cell, the same for all layers or layer by layer."""
    texts = []
    for layer in weights.layers:
        kinds = {
            "weight_hr": "projection",
            "peephole": "peepholes",
            "layer_norm": "layer normalisation",
            "h_0": "initial state",
            "c_0": "initial state",
        }
        names = {text: None for kind, text in kinds.items() if getattr(layer, kind) is not None}
        options = [] if str(layer.cell) == "plain" else [str(layer.cell)]
        texts.append(", ".join([*names, *options]) or "plain")
    if len(set(texts)) == 1:
        return texts[:1]
    return [f"{weights.suffix(index)[1:]}: {text}" for index, text in enumerate(texts)]


def _bias(weights: Weights) -> str:
    there = [layer.bias_ih is not None for layer in weights.layers]
    return "yes" if all(there) else "in some layers" if any(there) else "none"


def _count(weights: Weights) -> int:
    return sum(part.size for layer in weights.layers for part in layer.parameters().values())


def _lines(found: Found | Refused, width: int) -> Iterator[str]:
    """Yield what is printed of one."""
    if isinstance(found, Refused):
        yield _printable(found.name) or "(no name)"
        yield from _wrapped("  refused     ", _printable(str(found.error)), width)
        return
    weights = found.weights
    count = _count(weights)
    yield _printable(found.name) or "(no name)"
    rows = [
        ("sizes", _sizes(weights)),
        ("direction", weights.direction),
        *(("variant" if n == 0 else "", text) for n, text in enumerate(_variant(weights))),
        ("bias", _bias(weights)),
        ("parameters", f"{count:,} ({_bytes(4 * count)} as float32)"),
    ]
    for title, text in rows:
        yield from _wrapped(f"  {title:<12}", text, width)
    if found.sources:
        yield "  from"
    longest = max(map(len, found.sources), default=0)
    for name, text in found.sources.items():
        yield from _wrapped(f"    {name:<{longest}}  ", _printable(text), width)
    for note in found.assumptions:
        yield from _wrapped("  assumed     ", _printable(note), width)
    for note in found.notes:
        yield from _wrapped("  note        ", _printable(note), width)


def _wrapped(title: str, text: str, width: int) -> list[str]:
    wrapper = textwrap.TextWrapper(width, initial_indent=title, subsequent_indent=" " * len(title))
    wrapper.break_on_hyphens = False
    return wrapper.wrap(text) or [title.rstrip()]


def _bytes(size: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"


def _facts(found: Found | Refused) -> dict[str, Any]:
    if isinstance(found, Refused):
        return {"name": found.name, "error": str(found.error)}
    weights = found.weights
    return {
        "name": found.name,
        "input_size": weights.input_size,
        "hidden_size": weights.hidden_size,
        "output_size": weights.output_size,
        "num_layers": weights.num_layers,
        "direction": weights.direction,
        "variant": _variant(weights),
        "bias": _bias(weights),
        "parameters": _count(weights),
        "sources": found.sources,
        "notes": list(found.notes),
        "assumptions": list(found.assumptions),
        "parts": list(found.parts),
    }
