"""`lstm-fast check TARGET`."""

from __future__ import annotations

import argparse
import os
import re
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

from .._weights import WEIGHT_DTYPES
from ..errors import LstmFastError
from ..formats._whole_options import as_readers_flags
from . import _arguments, adapters
from ._loading import as_target, load_target
from ._unused import refuse_of_an_lstm, refuse_of_onnx, refuse_of_vads
from ._whole_files import is_more_than_an_lstm, of_whole_target, whole_reference
from .adapters.vad import SAMPLES
from .options import DEFAULT, Options
from .references import COMPUTES_BEFORE, NoReference, Reference, as_reference
from .results import MAIN, Report
from .runner import NAMES, run
from .speed import SLOW_RATIO
from .target import NoTargetError, Target, TargetError, theirs, told
from .whole_references import is_whole

__all__ = ["add", "as_target", "load_target"]

DESCRIPTION = (
    "Checks an LSTM or a whole model that is stepped: against the equations in float64, and that "
    "resets reset, that sessions do not touch each other, that NaN stays where it is. Running a "
    "target runs its code."
)
STATUS = f"""\
exit status:
  0    all that was asked for passed; the last line may hold a warning, such as
       that steps with unusual frames take more than {SLOW_RATIO:g} times as long
  1    a check failed, or the target broke down in one
  2    it could not be run: whatever the target raises before the first check
       is one line on standard error, with an example below where one helps
  3    nothing failed, but it was not compared with the LSTM that it should be:
       {" or ".join(MAIN)} was skipped, such as for want of a reference, and
       none of --no-reference, --only and --skip asked for that
  130  interrupted
"""
HOW = "(--reference FILE gives one, --no-reference does without)"
LONGEST = 800  # characters of an error in one line


def add(commands: Any) -> None:
    """Add it to the subcommands of a parser."""
    parser = commands.add_parser(
        "check",
        help="does that LSTM compute what it should",
        description=textwrap.fill(DESCRIPTION, 78),
        epilog=STATUS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    arg = parser.add_argument
    arg(
        "target",
        nargs="?",
        metavar="TARGET",
        help="model.onnx, for onnxruntime; a file of torch: its LSTM in nn.LSTM, or TorchScript, "
        "and likewise .npz, .eqx and an index of shards; a whole model .lfm, .nam, .aidax, .json "
        "or .keras, in lstm_fast; or module:factory, which returns a Target, an LSTM, a Model, a "
        "torch module or a Keras model",
    )
    arg("--command", dest="program", metavar="CMD", help="a program that speaks the line protocol")
    arg("--reference", metavar="FILE", help="the LSTM that it should be; default: that of TARGET")
    arg("--no-reference", action="store_true", help="do without agreement and drift, on purpose")
    arg("--weight-dtype", choices=WEIGHT_DTYPES, help="as what TARGET stores its weights")
    arg("--name", metavar="NAME", help="which LSTM, where a file has several")
    arg(
        "--ignore",
        action="append",
        default=[],
        metavar="PATTERN",
        help="of PyTorch and safetensors: leave tensors of such names out; repeatable",
    )
    arg("--only", metavar="C,...", type=_arguments.names, help=f"of {', '.join(NAMES)}")
    arg("--skip", metavar="C,...", type=_arguments.names, default=(), help="checks to leave out")
    _add_onnx(parser)
    _add_vad(parser)
    arg("--input-size", type=int, metavar="I", help="of a torch module that does not say it")
    arg("--timeout", type=float, default=10.0, metavar="S", help="for an answer of --command")
    arg("--exact", action="store_true", help="batches and chunks must have the bits of steps")
    arg("--head", action="store_true", help="the output is not h, but what a head makes of it")
    arg("--seed", type=int, default=DEFAULT.seed, metavar="N")
    arg("--scale", type=float, default=DEFAULT.scale, metavar="X", help="frames are within +-X")
    arg("--steps", type=int, default=DEFAULT.drift_steps, metavar="N", help="of the drift check")
    arg("--seconds", type=float, default=DEFAULT.drift_seconds, metavar="S", help="of it, at most")
    arg(
        "--slow-ratio",
        type=float,
        metavar="R",
        help=f"fail where slow paths cost more; default: above {SLOW_RATIO:g} is a warning",
    )
    arg("--json", type=Path, metavar="FILE", help="write the report as JSON")
    arg("--junit", type=Path, metavar="FILE", help="write it as JUnit XML")
    parser.set_defaults(command=_check)


def _add_vad(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("of voice activity detectors")
    arg = group.add_argument
    arg(
        "--sampling-rate",
        type=int,
        metavar="HZ",
        help="module:factory makes voice activity detectors that take audio of 16000 or 8000 Hz, "
        "to be compared with Silero VAD; --reference FILE is another version of it",
    )
    arg("--samples", choices=SAMPLES, help="as what such a detector takes samples")
    arg("--chunk", type=int, metavar="N", help="how many it takes at once; default: 512 or 256")


def _add_onnx(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("of ONNX models, where they can't be guessed")
    arg = group.add_argument
    arg("--input", metavar="NAME", help="the input that takes frames")
    arg("--output", metavar="NAME", help="the output to look at")
    arg(
        "--state",
        metavar="IN:OUT",
        type=_arguments.state,
        action="append",
        help="a state's input and output; repeatable",
    )
    arg(
        "--set",
        metavar="IN=NUMBER",
        type=_arguments.constant,
        action="append",
        default=[],
        help="the value of an input, such as sr=16000; repeatable",
    )
    arg(
        "--frame",
        metavar="N[,M]",
        type=_arguments.frame,
        help="the shape of a frame, such as 576, 1,80 or 3x41",
    )
    arg(
        "--history",
        metavar="IN=N",
        type=_arguments.history,
        action="append",
        default=[],
        help="of a whole model: so many values of the frames before, such as input=64; repeatable",
    )
    arg(
        "--shape",
        metavar="IN=1,N",
        type=_arguments.shape,
        action="append",
        default=[],
        help="of a whole model: the shape of an input, history and all; repeatable",
    )
    arg("--time-axis", type=int, metavar="N", help="where frames have the time")
    arg("--batch-axis", type=int, metavar="N", help="where they have the batch")


def _check(options: argparse.Namespace) -> int:
    """Run the checks; return the exit status.

    Whatever a target raises before the first check is one line, also what is not an Exception, such
    as SystemExit: without this, a target that calls `sys.exit(0)` would have passed.
    """
    try:
        report = _report(options)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        _tell(error)
        return 2
    color = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    print(report.text(color, _width()))
    try:
        if options.json:
            report.to_json(options.json)
        if options.junit:
            report.to_junit(options.junit)
    except BrokenPipeError:  # of stdout, where a report was sent there
        raise
    except OSError as error:
        _tell(error)
        return 2
    return report.exit_status


def _tell(error: BaseException) -> None:
    """Say in one line why it could not be run; below it, the code that would work, where known."""
    if isinstance(error, FileNotFoundError) and error.filename is not None:
        error = FileNotFoundError(f"{error.filename}: there is no such file")
    example = error.example if isinstance(error, NoTargetError) else ""
    if isinstance(error, NoTargetError):
        error = TargetError(f"{error.args[0]}. This works:")
    is_ours = isinstance(error, (LstmFastError, OSError, ValueError, TypeError, ImportError))
    text = " ".join((str(error) if is_ours and str(error).strip() else told(error)).split())
    if len(text) > LONGEST:
        text = f"{text[: LONGEST // 2]} ... {text[-LONGEST // 2 :]}"
    _progress("")
    print(f"lstm-fast: {as_readers_flags(text, ('name', 'ignore'))}", file=sys.stderr)
    if example:
        print(f"\n{example}", end="", file=sys.stderr)


def _report(options: argparse.Namespace) -> Report:
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
    target = _target(options)
    try:
        refuse_of_an_lstm(options, target)
        reference = _reference(options, target)
        report = run(
            target,
            reference,
            settings,
            only=options.only,
            skip=options.skip,
            progress=_progress,
        )
    except BaseException:
        _close(target)
        raise
    _progress("")
    if isinstance(reference, NoReference) and any(one.is_missing for one in report.results):
        print(f"lstm-fast: no reference: {reference.reason}", file=sys.stderr)
    return replace(report, target=_title(options, report), remarks=report.remarks + _close(target))


def _title(options: argparse.Namespace, report: Report) -> str:
    """Return what to call a target: module:factory as it was typed, else by its own name."""
    is_file = options.target is None or Path(options.target).is_file()
    return report.target if is_file else str(options.target)


def _close(target: Target) -> tuple[str, ...]:
    """Free a target; return what it raised, which is a remark and spoils no report."""
    try:
        with theirs("close() of the target"):
            target.close()
    except TargetError as error:
        return (str(error),)
    return ()


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
        refuse_of_onnx(options, "--command")
        refuse_of_vads(options, "--command", "the program says that itself, in its answer to info")
        return adapters.from_command(options.program, timeout=options.timeout)
    if not options.target.lower().endswith(".onnx"):
        refuse_of_onnx(options, options.target)
    if ":" not in options.target or Path(options.target).is_file():
        refuse_of_vads(options, options.target, "it is of TARGETs that are module:factory")
    return load_target(
        options.target,
        name=options.name,
        input_size=options.input_size,
        onnx=_onnx_options(options),
        ignore=options.ignore,
        whole=_may_be_whole(options),
        vad=_vad_options(options),
    )


def _may_be_whole(options: argparse.Namespace) -> bool:
    """Say whether nothing asks for the LSTM alone."""
    if options.no_reference or options.head or options.name or options.weight_dtype:
        return False
    reference = options.reference
    if reference is None or reference.lower().endswith((".lfm", ".nam", ".aidax", ".keras")):
        return True
    return reference.lower().endswith(".onnx") and is_more_than_an_lstm(
        reference, _onnx_options(options)
    )


def _vad_options(options: argparse.Namespace) -> dict[str, Any] | None:
    """Return what was said of a voice activity detector, or None where nothing was.

    Raises:
        ValueError: all but the sampling rate was said.
    """
    if options.sampling_rate is None:
        refuse_of_vads(options, options.target, "say --sampling-rate as well")
        return None
    found = {"sampling_rate": options.sampling_rate, "samples": options.samples}
    found["chunk"] = options.chunk
    return {name: value for name, value in found.items() if value is not None}


def _onnx_options(options: argparse.Namespace) -> dict[str, Any]:
    found: dict[str, Any] = {
        "x": options.input,
        "y": options.output,
        "time_axis": options.time_axis,
        "batch_axis": options.batch_axis,
    }
    if options.state:
        found["states"] = dict(options.state)
    if options.set:
        found["constants"] = dict(options.set)
    if options.frame:
        found["frame_shape"] = options.frame
    if options.history:
        found["history"] = dict(options.history)
    if options.shape:
        found["shapes"] = dict(options.shape)
    return {name: value for name, value in found.items() if value is not None}


def _reference(options: argparse.Namespace, target: Target) -> Any:
    """Return the reference, a `NoReference` that says why there is none, or None as asked."""
    if options.no_reference:
        return None
    name, dtype = options.name, options.weight_dtype
    if options.reference is not None:
        if is_whole(target, options.reference):
            return whole_reference(target, options.reference)
        return as_reference(options.reference, name, dtype, options.ignore)
    return of_whole_target(target) or _of_the_target(options, target)


def _of_the_target(options: argparse.Namespace, target: Target) -> Any:
    """Return the LSTM that a target holds or whose file it is, as the reference, or why not."""
    dtype, file = options.weight_dtype, options.target
    own = _own(target)
    if own:  # what it was made of
        found = as_reference(getattr(target, own), None, dtype)
        return replace(found, origin=f"reference = target.{own}")
    if file is None or not Path(file).is_file():
        return NoReference("give one with --reference FILE, or do without by --no-reference")
    return _of_file(options, file, target)


def _of_file(options: argparse.Namespace, file: str, target: Target) -> Reference | NoReference:
    """Return the LSTM in the target's own file as the reference, where it is all of the target."""
    try:
        found = as_reference(file, options.name, options.weight_dtype, options.ignore)
    except (LstmFastError, ValueError) as error:
        return NoReference(f"{_first_sentence(str(error))} {HOW}")
    if found.weights.input_size == target.input_size:
        return found
    return NoReference(
        f"the LSTM in {Path(file).name} takes {found.weights.input_size} values per frame, the "
        f"model {target.input_size}: {COMPUTES_BEFORE}"
    )


def _first_sentence(text: str) -> str:
    return re.split(r"(?<=\w)[.;] ", text, maxsplit=1)[0]


def _own(target: Target) -> str:
    """Return the attribute of a target that holds its LSTM, and nothing else, if there is one."""
    if isinstance(target, adapters.LstmTarget):
        return "lstm"
    is_one = isinstance(target, adapters.TorchTarget) and (target.is_lstm or target.is_cell)
    return "module" if is_one else ""
