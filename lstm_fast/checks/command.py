"""`lstm-fast check TARGET`."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from .._weights import WEIGHT_DTYPES
from ..errors import LstmFastError
from ..lstm import LSTM
from . import adapters
from .options import DEFAULT, Options
from .references import as_reference
from .runner import NAMES, run
from .target import Target, TargetError

__all__ = ["add", "load_target"]

DESCRIPTION = (
    "Checks an LSTM that is stepped: against the equations in float64, and that resets reset, that "
    "sessions do not touch each other, that NaN stays where it is. Exit status: 0 all passed, 1 a "
    "check failed, 2 it could not be run. Running a target runs its code."
)
TORCH = (".pt", ".pth", ".bin", ".ckpt", ".jit", ".safetensors")


def add(commands: Any) -> None:
    """Add it to the subcommands of a parser."""
    parser = commands.add_parser(
        "check", help="does that LSTM compute what it should", description=DESCRIPTION
    )
    arg = parser.add_argument
    arg(
        "target",
        nargs="?",
        metavar="TARGET",
        help="model.onnx, for onnxruntime; a file of torch: its LSTM in nn.LSTM, or TorchScript; "
        "or module:factory, which returns a Target, an LSTM, a torch module or a Keras model",
    )
    arg("--command", dest="program", metavar="CMD", help="a program that speaks the line protocol")
    arg("--reference", metavar="FILE", help="the LSTM that it should be; default: that of TARGET")
    arg("--no-reference", action="store_true", help="agreement and drift are skipped")
    arg("--weight-dtype", choices=WEIGHT_DTYPES, help="as what TARGET stores its weights")
    arg("--name", metavar="NAME", help="which LSTM, where a file has several")
    arg("--only", metavar="C,...", type=_names, help=f"of {', '.join(NAMES)}")
    arg("--skip", metavar="C,...", type=_names, default=(), help="checks to leave out")
    _add_onnx(parser)
    arg("--input-size", type=int, metavar="I", help="of a torch module that does not say it")
    arg("--timeout", type=float, default=10.0, metavar="S", help="for an answer of --command")
    arg("--exact", action="store_true", help="batches and chunks must have the bits of steps")
    arg("--head", action="store_true", help="the output is not h, but what a head makes of it")
    arg("--seed", type=int, default=DEFAULT.seed, metavar="N")
    arg("--scale", type=float, default=DEFAULT.scale, metavar="X", help="frames are within +-X")
    arg("--steps", type=int, default=DEFAULT.drift_steps, metavar="N", help="of the drift check")
    arg("--seconds", type=float, default=DEFAULT.drift_seconds, metavar="S", help="of it, at most")
    arg("--slow-ratio", type=float, metavar="R", help="what slow paths may cost; default: any")
    arg("--json", type=Path, metavar="FILE", help="write the report as JSON")
    arg("--junit", type=Path, metavar="FILE", help="write it as JUnit XML")
    parser.set_defaults(command=_check)


def _add_onnx(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("of ONNX models, where they can't be guessed")
    arg = group.add_argument
    arg("--input", metavar="NAME", help="the input that takes frames")
    arg("--output", metavar="NAME", help="the output to look at")
    arg("--state", metavar="IN:OUT", action="append", help="a state's input and output; repeatable")
    arg("--set", metavar="IN=NUMBER", action="append", default=[], help="the value of an input")
    arg("--frame", metavar="N[xM]", help="the shape of a frame, such as 576 or 1x80")
    arg("--time-axis", type=int, metavar="N", help="where frames have the time")
    arg("--batch-axis", type=int, metavar="N", help="where they have the batch")


def _names(text: str) -> tuple[str, ...]:
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    for name in names:
        if name not in NAMES:
            raise argparse.ArgumentTypeError(f"there is no check {name!r}: {', '.join(NAMES)}")
    return names


def _check(options: argparse.Namespace) -> int:
    """Run the checks; return the exit status."""
    try:
        return _run(options)
    except (KeyboardInterrupt, BrokenPipeError):  # of stdout, which cli.main ends quietly
        raise
    except (LstmFastError, OSError, ValueError, TypeError, ImportError) as error:
        print(f"lstm-fast: {error}", file=sys.stderr)
        return 2


def _run(options: argparse.Namespace) -> int:
    for path in (options.json, options.junit):
        if path and not path.absolute().parent.is_dir():
            raise FileNotFoundError(f"cannot write {path}: there is no such directory")
    settings = Options(
        seed=options.seed,
        scale=options.scale,
        exact=True if options.exact else None,
        output_is_h=not options.head,
        drift_steps=options.steps,
        drift_seconds=options.seconds,
        slow_ratio=options.slow_ratio,
    )
    with _target(options) as target:
        reference, why = _reference(options, target)
        if why:
            print(f"lstm-fast: no reference: {why}", file=sys.stderr)
        report = run(
            target,
            reference,
            settings,
            only=options.only,
            skip=options.skip,
            progress=_progress,
        )
    _progress("")
    color = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    print(report.text(color, _width()))
    if options.json:
        report.to_json(options.json)
    if options.junit:
        report.to_junit(options.junit)
    return report.exit_status


def _width() -> int:
    import shutil

    return min(max(shutil.get_terminal_size((100, 24)).columns, 60), 120)


def _progress(text: str) -> None:
    """Show which check runs, in one line that rewrites itself; nothing where nobody looks."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)


def _target(options: argparse.Namespace) -> Target:
    if (options.target is None) == (options.program is None):
        raise ValueError("give a TARGET, or a program with --command")
    if options.program is not None:
        return adapters.from_command(options.program, timeout=options.timeout)
    return load_target(
        options.target,
        name=options.name,
        input_size=options.input_size,
        onnx=_onnx_options(options),
    )


def _onnx_options(options: argparse.Namespace) -> dict[str, Any]:
    found: dict[str, Any] = {
        "x": options.input,
        "y": options.output,
        "time_axis": options.time_axis,
        "batch_axis": options.batch_axis,
    }
    if options.state:
        pairs = [text.partition(":") for text in options.state]
        found["states"] = {one: other for one, _, other in pairs}
    if options.set:
        found["constants"] = dict(_constant(text) for text in options.set)
    if options.frame:
        found["frame_shape"] = [int(size) for size in options.frame.split("x")]
    return {name: value for name, value in found.items() if value is not None}


def _constant(text: str) -> tuple[str, Any]:
    import numpy as np

    name, _, value = text.partition("=")
    try:
        return name, np.array(int(value))
    except ValueError:
        return name, np.array(float(value), np.float32)


def load_target(
    text: str,
    *,
    name: str | None = None,
    input_size: int | None = None,
    onnx: dict[str, Any] | None = None,
) -> Target:
    """Return what the command line calls a TARGET.

    Args:
        text: a file, or module:factory. The module is looked for here, too; the factory is called
            where it can be and returns a Target or what an adapter makes one of.
        name: which LSTM of a file of torch, where it has several.
        input_size: of a torch module that does not say it.
        onnx: arguments of `adapters.from_onnx`.

    Raises:
        TargetError: it can't be run.
        OSError, FormatError: the file can't be read.
    """
    origin = _origin(text, name, input_size, onnx or {})
    path = Path(text)
    if path.suffix.lower() == ".onnx":
        if not path.is_file():
            raise FileNotFoundError(f"{text}: there is no such file")
        return adapters.from_onnx(path, origin=origin, **(onnx or {}))
    if path.suffix.lower() in TORCH:
        return _of_torch(path, name, input_size, origin)
    module, separator, attribute = text.partition(":")
    if not separator or not module or not attribute:
        raise TargetError(
            f"{text!r} is no target: expected a file .onnx, {', '.join(TORCH)}, or module:factory"
        )
    return _of_module(module, attribute, input_size, origin)


def _origin(text: str, name: str | None, input_size: int | None, onnx: dict[str, Any]) -> str:
    more = "" if name is None else f", name={name!r}"
    more += "" if input_size is None else f", input_size={input_size}"
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


def _of_torch(path: Path, name: str | None, input_size: int | None, origin: str) -> Target:
    """Return TorchScript as it is, and weights in an nn.LSTM."""
    torch: Any = adapters.need("torch", "torch")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file")
    torch.set_num_threads(1)  # one step is the work of one thread; others only wait for each other
    title = f"{path.name} in torch {torch.__version__}"
    if path.suffix.lower() == ".jit" or (input_size and path.suffix.lower() == ".pt"):
        module = torch.jit.load(path)
        return adapters.from_torch(module, input_size, name=title, origin=origin)
    module = _module_of(torch, path, name)
    return adapters.from_torch(module, name=title, origin=origin)


def _module_of(torch: Any, path: Path, name: str | None) -> Any:
    """Return an nn.LSTM with the weights of a file; no code in the file is run."""
    from .. import formats

    found = formats.read(path)
    weights = formats.pick(path, found, name if len(found) > 1 else None).weights
    if any(not layer.is_plain and layer.weight_hr is None for layer in weights.layers):
        raise TargetError(f"{path}: nn.LSTM does not have this variant")
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


def _of_module(module: str, attribute: str, input_size: int | None, origin: str) -> Target:
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found: Any = importlib.import_module(module)
    except ImportError as error:
        raise TargetError(f"can't import {module}: {error}") from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise TargetError(f"{module} has no {attribute}")
        found = getattr(found, part)
    if callable(found) and (isinstance(found, type) or not _is_known(found)):
        try:
            found = found()
        except Exception as error:
            raise TargetError(
                f"{module}:{attribute}() raised {type(error).__name__}: {error}"
            ) from error
    return as_target(found, input_size, origin)


def _libraries(value: Any) -> set[str]:
    """Return the libraries that a value's classes come from."""
    return {one.__module__.partition(".")[0] for one in type(value).__mro__}


def _is_known(value: Any) -> bool:
    """Say whether `as_target` takes it as it is."""
    return isinstance(value, (Target, LSTM)) or bool(_libraries(value) & {"torch", "keras"})


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
    roots = _libraries(value)
    # Keras before torch: its layers are torch modules where torch is its backend.
    if "keras" in roots:
        return adapters.from_keras(value, input_size, origin=origin)
    if "torch" in roots:
        return adapters.from_torch(value, input_size, origin=origin)
    raise TargetError(
        f"{type(value).__name__} is neither a Target nor what an adapter knows: see "
        "lstm_fast.checks.adapters"
    )


def _reference(options: argparse.Namespace, target: Target) -> tuple[Any, str]:
    """Return the reference, or None and why there is none."""
    if options.no_reference:
        return None, ""
    name, dtype, file = options.name, options.weight_dtype, options.target
    if options.reference is not None:
        return as_reference(options.reference, name, dtype), ""
    own = _own(target)
    if own:  # what it was made of
        found = as_reference(getattr(target, own), None, dtype)
        return replace(found, origin=f"reference = target.{own}"), ""
    if file is None or not Path(file).is_file():
        return None, "give one with --reference FILE"
    try:
        found = as_reference(file, name, dtype)
        if found.weights.input_size != target.input_size:
            raise ValueError(
                f"the LSTM in {file} takes {found.weights.input_size} values per frame, the model "
                f"{target.input_size}"
            )
    except (LstmFastError, ValueError) as error:
        return None, str(error)
    return found, ""


def _own(target: Target) -> str:
    """Return the attribute of a target that holds its LSTM, and nothing else, if there is one."""
    if isinstance(target, adapters.LstmTarget):
        return "lstm"
    is_one = isinstance(target, adapters.TorchTarget) and (target.is_lstm or target.is_cell)
    return "module" if is_one else ""
