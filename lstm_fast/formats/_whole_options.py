"""The options of `lstm_fast.load_model` on the command line."""

from __future__ import annotations

import argparse
import ast
import json
import re
from collections.abc import Sequence
from typing import Any

HINT = (
    "--shape NAME=1,576 --constant NAME=16000 --history NAME=64 --time-axis NAME=1 --state IN=OUT "
    "--no-states --inputs NAMES --outputs NAMES, see --help"
)
NAMES = "inputs|outputs|shapes|constants|states|history|time_axis"
OPTION = re.compile(rf"\b({NAMES})=(\{{[^{{}}]*\}}|\[[^\[\]]*\]|-?[0-9]+|(?=[ ,;:.)]|$))")
OPEN = re.compile('"?(<[^<>]*>)"?')  # what a message leaves to the reader
EXPECTED = {  # behind NAME=
    "shapes": "sizes with commas between them, such as 1,576",
    "constants": "a number, true, false or a list in brackets",
    "states": "the name of an output",
    "history": "a whole number",
    "time_axis": "a whole number",
}
OF_READERS = ("name", "format", "ignore", "forget_bias")
FLAGS = {  # by the name of load_model's argument
    "inputs": "--inputs",
    "outputs": "--outputs",
    "shapes": "--shape",
    "constants": "--constant",
    "states": "--state",
    "history": "--history",
    "time_axis": "--time-axis",
}


def add(parser: argparse.ArgumentParser) -> None:
    """Add them to a parser."""
    group = parser.add_argument_group("of whole models, .onnx", "as of lstm_fast.load_model")
    pairs = {"action": "append", "default": None}
    states = group.add_mutually_exclusive_group()
    names = {"action": "extend", "type": _names, "metavar": "A,B"}
    more: dict[str, tuple[str, dict[str, Any]]] = {
        "--shape": ("sizes of an input with all axes: x=1,576", pairs | _pair("shapes", _sizes)),
        "--constant": (
            "an input that never changes: sr=16000",
            pairs | _pair("constants", json.loads),
        ),
        "--history": ("so many values of the steps before", pairs | _pair("history", int)),
        "--time-axis": (
            "which axis of an input is time: x=1, or 1 where there is one input",
            pairs | _pair("time_axis", int, needs_name=False) | {"metavar": "[NAME=]AXIS"},
        ),
        "--state": ("which output is which input next: h=hn", pairs | _pair("states", _name)),
        "--no-states": ("no input is a state", {"dest": "states", "action": _NoStates, "nargs": 0}),
        "--inputs": ("begin at these values of the graph", names),
        "--outputs": ("end at these", names),
    }
    for option, (text, settings) in more.items():
        (states if settings.get("dest") == "states" else group).add_argument(
            option, help=text, **settings
        )


def given(options: argparse.Namespace) -> dict[str, Any]:
    """Return the ones that were given, as `load_model` takes them."""
    values = {name: getattr(options, name) for name in FLAGS}
    found = {name: value for name, value in values.items() if value is not None}
    for name in set(found) - {"inputs", "outputs"}:
        found[name] = dict(found[name])
    axes = found.get("time_axis", {})
    return found | ({"time_axis": axes[""]} if list(axes) == [""] else {})


def as_flags(text: str) -> str:
    """Return a message of `load_model` with its arguments as one writes them here."""
    text = OPTION.sub(lambda found: _flags(found[1], found[2]) or found[0], text)
    return as_readers_flags(text)


def as_readers_flags(text: str, names: Sequence[str] = OF_READERS) -> str:
    """Return a message of a reader of LSTMs, which names an argument and no more, likewise."""
    named = rf"\b({'|'.join(names)})=(?=[ ,;:.)]|$)"
    return re.sub(named, lambda found: f"--{found[1].replace('_', '-')}", text)


def _flags(name: str, written: str) -> str:
    """Return the flags of an argument that is written in Python, or nothing where it is none."""
    if not written:  # the argument is named, and no more
        return FLAGS[name]
    if written == "{...}":
        return f"{FLAGS[name]} <name>=<value>"
    try:
        value = ast.literal_eval(OPEN.sub(lambda found: repr(found[1]), written))
    except (ValueError, SyntaxError):
        return ""
    if isinstance(value, dict):
        pairs = [f"{FLAGS[name]} {key}={_written(one)}" for key, one in value.items()]
        return " ".join(pairs) or ("--no-states" if name == "states" else "")
    if isinstance(value, list):
        return f"{FLAGS[name]} {','.join('<others>' if one is ... else str(one) for one in value)}"
    return f"{FLAGS[name]} {value}" if name == "time_axis" else ""


def _written(value: Any) -> str:
    """Return a value as its flag takes it: sizes with commas; words in brackets are left open."""
    if isinstance(value, tuple):
        return ",".join("<size>" if one is ... else str(one) for one in value)
    return "<sizes>" if value is ... else str(value)


class _NoStates(argparse.Action):
    def __call__(self, parser: Any, namespace: Any, values: Any, option: Any = None) -> None:
        namespace.states = []


def _pair(dest: str, convert: Any, *, needs_name: bool = True) -> dict[str, Any]:
    """Return how to take NAME=VALUE; names may have an equals sign, values have none."""

    def pair(text: str) -> tuple[str, Any]:
        name, _, value = text.rpartition("=")
        if not name and (needs_name or "=" in text):
            raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE as in --help")
        try:
            return name, convert(value)
        except ValueError:
            raise argparse.ArgumentTypeError(
                f"{value!r} in {text!r} is not {EXPECTED[dest]}"
            ) from None

    return {"dest": dest, "type": pair, "metavar": "NAME=VALUE"}


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(int(size) for size in text.split(","))


def _name(text: str) -> str:
    if not text:
        raise ValueError("a name is missing")
    return text


def _names(text: str) -> list[str]:
    return [_name(name) for name in text.split(",")]
