"""`lstm-fast vad FILE...` and `lstm-fast vad --live`."""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..model import Model
from . import _reports
from ._events import SpeechEvent
from ._recordings import Recording, duration, listen
from ._session import SpeechStream
from ._silero import CHUNKS, silero
from ._timestamps import get_speech_timestamps_from_probs

__all__ = ["add"]

DESCRIPTION = (
    "Finds speech with Silero VAD: in recordings, all of them through one pool, or in what comes "
    "from standard input. The weights are those of the installed package silero-vad "
    "(pip install --no-deps silero-vad)."
)
EXAMPLES = """\
examples:
  lstm-fast vad call.wav                      a table of segments
  lstm-fast vad --json *.flac > speech.json
  lstm-fast vad --rttm --out found *.wav      found/NAME.rttm for each
  lstm-fast vad call.wav --plot call.png
  arecord -q -t raw -f S16_LE -r 48000 | lstm-fast vad --live --rate 48000 --turn 700

exit status:
  0  done
  1  some recordings could not be heard; the others were
  2  wrong usage, or it can't run here
"""
SUFFIXES = {"json": ".json", "rttm": ".rttm", "srt": ".srt", "table": ".txt"}
READ_BYTES = 8192
MAGIC = {
    b"RIFF": "a WAV",
    b"fLaC": "a FLAC",
    b"OggS": "an Ogg",
    b"ID3\3": "an MP3",
    b"ID3\4": "an MP3",
}
LONGEST_MAGIC = 4


def add(commands: Any) -> None:
    """Add it to the subcommands of a parser."""
    parser = commands.add_parser(
        "vad",
        help="where is speech in these recordings, or in live audio",
        description=textwrap.fill(DESCRIPTION, 78),
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    arg = parser.add_argument
    arg("files", nargs="*", type=Path, metavar="FILE", help="of any format that libsndfile reads")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--json", dest="form", action="store_const", const="json", help="as JSON")
    how.add_argument("--rttm", dest="form", action="store_const", const="rttm", help="as RTTM")
    how.add_argument("--srt", dest="form", action="store_const", const="srt", help="as subtitles")
    parser.set_defaults(form="table")
    arg("--out", type=Path, metavar="DIR", help="write a file for each recording there")
    arg("--plot", type=Path, metavar="FILE", help="draw loudness, probability and segments")
    arg("--threshold", type=float, default=0.5, metavar="P", help="where speech starts (0.5)")
    arg("--neg-threshold", type=float, metavar="P", help="where it may end (0.15 less)")
    arg("--min-speech", type=float, metavar="MS", help="shorter is none (250; live 0)")
    arg("--min-silence", type=float, default=100, metavar="MS", help="shorter ends nothing (100)")
    arg("--pad", type=float, default=30, metavar="MS", help="added on both sides (30)")
    arg("--max-speech", type=float, metavar="S", help="cut longer segments (never)")
    arg("--live", action="store_true", help="events as they come, of raw PCM16 from standard input")
    arg("--rate", type=int, metavar="HZ", help="of --live (16000); files say theirs")
    arg("--turn", type=float, metavar="MS", help="of --live: a turn ends after so much silence")
    arg("--model", type=Path, metavar="FILE", help="a .onnx or .lfm file of Silero VAD")
    arg("--model-rate", type=int, default=16000, choices=sorted(CHUNKS), help="its rate (16000)")
    arg("--backend", choices=("native", "numba", "reference"), help="what computes (the best here)")
    parser.set_defaults(command=lambda options: _run(options, parser))


def _run(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    _check(options, parser)
    try:
        model = silero(options.model, sampling_rate=options.model_rate, backend=options.backend)
        return _live(options, model) if options.live else _recordings(options, model)
    except (ValueError, ImportError) as error:
        print(f"lstm-fast: {error}", file=sys.stderr)
        return 2


def _check(options: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Refuse options that don't go together, or are not numbers that can be."""
    if options.live == bool(options.files):
        parser.error("name recordings, or --live for raw PCM from standard input; one of both")
    if options.live:
        for name in ("out", "plot", "max_speech"):
            if getattr(options, name) is not None:
                parser.error(f"--{name.replace('_', '-')} is of recordings, not of --live")
        if options.form in ("rttm", "srt"):
            parser.error(f"--{options.form} is of recordings; --live writes lines, or --json lines")
    elif options.turn is not None:
        parser.error("--turn is of --live")
    elif options.rate is not None:
        parser.error("--rate is of --live; recordings say their own")
    if options.form == "srt" and len(options.files) > 1 and options.out is None:
        parser.error("--srt is of one recording: name one, or --out DIR for a file for each")
    for name in ("threshold", "neg_threshold"):
        value = getattr(options, name)
        if value is not None and not 0 <= value <= 1:
            parser.error(f"--{name.replace('_', '-')} is {value:g}, expected 0 to 1")
    for name in ("min_speech", "min_silence", "pad", "max_speech", "turn"):
        value = getattr(options, name)
        if value is not None and not value >= 0:
            parser.error(f"--{name.replace('_', '-')} is {value:g}, expected 0 or more")


def _recordings(options: argparse.Namespace, model: Model) -> int:
    if options.plot:
        _reports.require_drawing(options.plot, len(options.files))
    if options.out:
        _refuse_same_names(options)
        if options.out.exists() and not options.out.is_dir():
            raise ValueError(f"--out {options.out}: this is a file, expected a folder")
        options.out.mkdir(parents=True, exist_ok=True)
    results: list[_reports.Result] = []
    with _progress(options.files) as progress:
        heard = listen(options.files, model, has_peaks=bool(options.plot), progress=progress)
        for recording in heard:
            results.append(_reports.Result(recording, _segments(recording, options)))
    for one in results:
        if one.recording.error:
            print(f"lstm-fast: {one.recording.path}: {one.recording.error}", file=sys.stderr)
    good = [one for one in results if not one.recording.error]
    _write(options, results, good)
    if options.plot and good:
        seconds = CHUNKS[options.model_rate] / options.model_rate
        _reports.draw(good, options.plot, options.threshold, seconds)
    return 0 if len(good) == len(results) else 1


def _segments(recording: Recording, options: argparse.Namespace) -> list[dict[str, Any]]:
    rate = options.model_rate
    longest = float("inf") if options.max_speech is None else options.max_speech
    length = -(-recording.frames * rate // recording.rate) if recording.rate else 0
    return get_speech_timestamps_from_probs(
        recording.probabilities,
        sampling_rate=rate,
        threshold=options.threshold,
        neg_threshold=options.neg_threshold,
        min_speech_duration_ms=250 if options.min_speech is None else options.min_speech,
        max_speech_duration_s=longest,
        min_silence_duration_ms=options.min_silence,
        speech_pad_ms=options.pad,
        return_seconds=True,
        time_resolution=3,
        audio_length_samples=length,
    )


def _write(
    options: argparse.Namespace, results: Sequence[_reports.Result], good: Sequence[_reports.Result]
) -> None:
    """Print what was found, or write it to files."""
    forms = {"table": _reports.table, "rttm": _reports.rttm, "srt": _reports.srt}
    if options.out:
        for one in good:
            form = options.form
            text = _reports.as_json([one]) if form == "json" else forms[form](one)
            path = options.out / (one.recording.path.stem + SUFFIXES[form])
            path.write_text(text + "\n" if text else "", encoding="utf-8")
        return
    if options.form == "json":
        print(_reports.as_json(results))
        return
    between = "\n\n" if options.form == "table" else "\n"
    if texts := [text for one in good if (text := forms[options.form](one))]:
        print(between.join(texts))


def _refuse_same_names(options: argparse.Namespace) -> None:
    names = [path.stem for path in options.files]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        first, second, *_ = (str(path) for path in options.files if path.stem == twice)
        raise ValueError(
            f"--out {options.out}: two recordings would be {twice} there, {first} and {second}: "
            "hear them in two runs, with a folder for each"
        )


@contextmanager
def _progress(paths: Sequence[Path]) -> Iterator[Any]:
    """Yield what is told how many seconds were heard; a bar, where stderr is a terminal."""
    if not sys.stderr.isatty():
        yield lambda seconds: None
        return
    try:
        from tqdm import tqdm
    except ImportError:
        yield lambda seconds: None
        return
    total = round(sum(map(duration, paths)), 1)
    form = "{l_bar}{bar}| {n:.0f}/{total:.0f} s of audio [{elapsed}<{remaining}]"
    with tqdm(total=total, desc="listening", delay=0.3, leave=False, bar_format=form) as bar:
        yield bar.update


def _live(options: argparse.Namespace, model: Model) -> int:
    if sys.stdin.isatty():
        raise ValueError(
            "--live reads raw PCM16 from standard input, which is a terminal: pipe into it, such "
            "as arecord -q -t raw -f S16_LE -r 16000 | lstm-fast vad --live"
        )
    stream = SpeechStream(
        model,
        rate=16000 if options.rate is None else options.rate,
        threshold=options.threshold,
        neg_threshold=options.neg_threshold,
        min_speech_duration_ms=options.min_speech or 0,
        min_silence_duration_ms=options.min_silence,
        speech_pad_ms=options.pad,
        turn_pause_ms=options.turn,
    )
    source: Any = sys.stdin.buffer
    rest, begin = b"", b""
    try:
        while data := source.read1(READ_BYTES):
            if len(begin) < LONGEST_MAGIC:
                begin += data
                _warn_of_a_file(begin)
            data, rest = _whole(rest + data)
            _tell(stream.push(data).events, options.form)
    except KeyboardInterrupt:
        _tell(stream.flush().events, options.form)
        return 130
    _tell(stream.flush().events, options.form)
    if rest:
        print("lstm-fast: the last byte is half of a sample: is this PCM16?", file=sys.stderr)
    return 0


def _warn_of_a_file(begin: bytes) -> None:
    """Say that this is not raw PCM, once as many bytes are there as tell; it may be chance."""
    found = next((name for magic, name in MAGIC.items() if begin.startswith(magic)), None)
    if found:
        print(
            f"lstm-fast: this begins like {found} file, and --live takes raw PCM16, without a "
            "header: name a file instead, or have it made raw",
            file=sys.stderr,
        )


def _whole(data: bytes) -> tuple[bytes, bytes]:
    """Return whole samples, and the byte that is left over."""
    size = len(data) // 2 * 2
    return data[:size], data[size:]


def _tell(events: Sequence[SpeechEvent], form: str) -> None:
    for event in events:
        if form == "json":
            line = json.dumps({"event": event.kind, "seconds": round(event.seconds, 6)})
        else:
            line = f"{event.seconds:10.3f} s  {event.kind.replace('_', ' ')}"
        print(line, flush=True)
