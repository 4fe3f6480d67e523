"""`lstm-fast inspect FILE` and `lstm-fast convert IN OUT`."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .. import formats
from .._weights import Weights
from ..model import Model
from . import _program_text, _whole_options, safetensors
from ._files import FormatError, Found, Refused
from ._terminal import as_bytes, printable, width, words_of, wrapped
from ._whole_models import is_whole, load_model

ENDINGS = (".safetensors", ".lfm")
DESCRIPTION_OF_INSPECT = (
    "Lists the LSTMs of a file; of .onnx, .keras, .nam, .aidax, .json and .lfm files also the "
    "whole model, operation by operation, or what is in the way of reading it."
)
DESCRIPTION_OF_CONVERT = (
    "To .safetensors: one LSTM of a file, weights under PyTorch's names, its variant in the "
    "metadata. To .lfm: the whole model, as lstm_fast.load_model reads it. Both load back exactly, "
    "with NumPy alone."
)


def add(commands: Any) -> None:
    """Add both to the subcommands of a parser."""
    text = "what LSTMs and what model there are in a file"
    inspect = commands.add_parser("inspect", help=text, description=DESCRIPTION_OF_INSPECT)
    _add_input(inspect)
    inspect.add_argument("--json", action="store_true", help="as JSON")
    inspect.set_defaults(command=_failing_with_one(_inspect))
    text = "write an LSTM of any format as safetensors, or a whole model as .lfm"
    convert = commands.add_parser("convert", help=text, description=DESCRIPTION_OF_CONVERT)
    _add_input(convert)
    convert.add_argument("out", metavar="OUT", help="ends in .safetensors or .lfm")
    convert.add_argument("--name", help="which LSTM, where there are several; inspect lists them")
    convert.add_argument("--force", action="store_true", help="write over a file that is there")
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
    _whole_options.add(parser)


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
            print(f"lstm-fast: {_shown(words_of(error))}", file=sys.stderr)
            return 1
        return 0

    return run


def _shown(text: str) -> str:
    """Return a message as it is shown: in one line, with flags in the place of arguments."""
    return printable(_whole_options.as_flags(text))


def _read(options: argparse.Namespace) -> list[Found | Refused]:
    given = {"forget_bias": options.forget_bias, "ignore": options.ignore}
    extra = dict(options.option)
    extra |= {name: value for name, value in given.items() if value is not None}
    return formats.read(options.file, options.format, **extra)


def _inspect(options: argparse.Namespace) -> None:
    whole = is_whole(options.file)
    _refuse_options(options, of_models=whole, of_lstms=not options.file.lower().endswith(".lfm"))
    found, model, obstacle = _both(options) if whole else (_read(options), None, None)
    if options.json:
        facts = {
            "lstms": [_facts(one) for one in found],
            "program": None if model is None else _program_text.facts(model),
            "obstacle": None if obstacle is None else _whole_options.as_flags(str(obstacle)),
        }
        print(json.dumps(facts, indent=2))
        return
    if not found and model is None:
        raise formats.no_lstm(options.file)
    count = "1 LSTM" if len(found) == 1 else f"{len(found) or 'no'} LSTMs"
    if refused := sum(isinstance(one, Refused) for one in found):
        count += f", {refused} of them refused"
    text = "a whole model" if options.file.lower().endswith(".lfm") else count
    print(f"{printable(options.file)}: {text}")
    columns = width()
    for one in found:
        print()
        for line in _lines(one, columns):
            print(line)
    for line in _whole_lines(options, model, obstacle, columns):
        print(line)


def _both(
    options: argparse.Namespace,
) -> tuple[list[Found | Refused], Model | None, FormatError | None]:
    """Return the LSTMs of a file that may be a whole model, the model, or what is in its way.

    Raises:
        FormatError: neither can be read.
    """
    told = _whole_options.given(options)
    if options.file.lower().endswith(".lfm"):
        return [], load_model(options.file, **told), None
    found: list[Found | Refused] = []
    no_lstm = None
    try:
        found = _read(options)
    except FormatError as error:
        no_lstm = error
    try:
        return found, load_model(options.file, **told), None
    except FormatError as error:
        if found:
            return found, None, error
        if no_lstm is None or str(no_lstm) == str(error):
            raise
        text = str(error).removeprefix(f"{options.file}: ")
        raise FormatError(f"{no_lstm}; as a whole model: {text}") from error


def _whole_lines(
    options: argparse.Namespace, model: Model | None, obstacle: FormatError | None, columns: int
) -> Iterator[str]:
    """Yield what is printed of a whole model, or of what is in the way of reading it."""
    if model is not None:
        yield ""
        yield from _program_text.lines(model, columns)
    if obstacle is not None:
        yield ""
        yield "the whole model"
        yield from wrapped("  in the way  ", _shown(str(obstacle)), columns)
        if options.file.lower().endswith(".onnx"):
            yield from wrapped("  options     ", _whole_options.HINT, columns)


def _refuse_options(options: argparse.Namespace, *, of_models: bool, of_lstms: bool) -> None:
    """Refuse options that what is read here does not have.

    Raises:
        ValueError: one was given; a .lfm file's own are refused where it is read.
    """
    if not of_models and (told := _whole_options.given(options)):
        flag = _whole_options.FLAGS[next(iter(told))]
        raise ValueError(f"{flag} is of a whole model, .onnx, not of a single LSTM")
    if not of_lstms:
        given = {name: getattr(options, name) for name in ("format", "forget_bias", "ignore")}
        given |= {"option": options.option or None, "name": getattr(options, "name", None)}
        for name, value in given.items():
            if value is not None:
                text = "is of a single LSTM, not of a whole model"
                raise ValueError(f"--{name.replace('_', '-')} {text}")


def _convert(options: argparse.Namespace) -> None:
    ending = Path(options.out).suffix
    if ending not in ENDINGS:
        raise ValueError(
            f"{options.out}: the name of what is written has to end in .safetensors or .lfm"
        )
    if os.path.exists(options.out):
        if os.path.exists(options.file) and os.path.samefile(options.file, options.out):
            raise ValueError(f"{options.out}: that is the file to be read")
        if not options.force:
            raise ValueError(f"{options.out}: it is there already; --force writes over it")
    _refuse_options(options, of_models=ending == ".lfm", of_lstms=ending == ".safetensors")
    if ending == ".lfm":
        _convert_model(options)
    if ending == ".safetensors":
        _convert_lstm(options)


def _convert_model(options: argparse.Namespace) -> None:
    model = load_model(options.file, **_whole_options.given(options))
    model.save(options.out)
    for note in model.notes:
        print(f"lstm-fast: note: {printable(note)}", file=sys.stderr)
    size_bytes = os.path.getsize(options.out)
    print(
        f"{printable(options.out)}: {len(model.program.ops)} operations, {size_bytes:,} bytes, "
        f"fingerprint {model.fingerprint}"
    )


def _convert_lstm(options: argparse.Namespace) -> None:
    try:
        found = formats.pick(options.file, _read(options), options.name)
    except FormatError as error:
        if text := _as_whole(options.file, error):
            raise FormatError(f"{error}; {text}") from error
        raise
    safetensors.write(options.out, found.weights)
    for text in found.assumptions:
        print(f"lstm-fast: assumed: {_shown(text)}", file=sys.stderr)
    name = printable(found.name) or "the LSTM"
    print(f"{printable(options.out)}: {name}, {_sizes(found.weights)}")


def _as_whole(file: str, no_lstm: FormatError) -> str:
    """Say where the whole model of a file goes of which no LSTM is read, if there may be one."""
    if not is_whole(file) or file.lower().endswith(".lfm"):
        return ""
    try:
        load_model(file)
    except FormatError as error:
        if str(error) == str(no_lstm):  # nothing can be read of it
            return ""
        return f"as a whole model, to a .lfm file: {str(error).removeprefix(f'{file}: ')}"
    return "its whole model can be read: convert it to a .lfm file"


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


def _lines(found: Found | Refused, columns: int) -> Iterator[str]:
    """Yield what is printed of one."""
    if isinstance(found, Refused):
        yield printable(found.name) or "(no name)"
        yield from wrapped("  refused     ", _shown(str(found.error)), columns)
        return
    weights = found.weights
    count = _count(weights)
    yield printable(found.name) or "(no name)"
    rows = [
        ("sizes", _sizes(weights)),
        ("direction", weights.direction),
        *(("variant" if n == 0 else "", text) for n, text in enumerate(_variant(weights))),
        ("bias", _bias(weights)),
        ("parameters", f"{count:,} ({as_bytes(4 * count)} as float32)"),
    ]
    for title, text in rows:
        yield from wrapped(f"  {title:<12}", text, columns)
    if found.sources:
        yield "  from"
    longest = max(map(len, found.sources), default=0)
    for name, text in found.sources.items():
        yield from wrapped(f"    {name:<{longest}}  ", printable(text), columns)
    for note in found.assumptions:
        yield from wrapped("  assumed     ", _shown(note), columns)
    for note in found.notes:
        yield from wrapped("  note        ", printable(note), columns)


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
