"""Throws damaged files at the readers: errors only, no crash, no hang, no memory beyond the file's.

    python tests/formats/fuzz.py --count 1000000     # over all the files in golden/formats

Half of them have bytes changed, anywhere; in the others the parts that the format knows are moved,
named twice, or claim other sizes (`structures.py`). A reader may take four times the file's size
and 64 MB of memory, and of CPU time a second for each megabyte, and a second at least.

A damaged file is named by the file that it was made from and a seed, so each can be had again:

    python tests/formats/fuzz.py --only onnx/stack.onnx --seed 1234

Whole models: --reader lstm_fast:load_model --only onnx/, or --file for one that is elsewhere.
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import random
import resource
import sys
import tempfile
import time
import traceback
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import limits
import structures

HERE = Path(__file__).parent
READER = "lstm_fast.formats:read"
GOLDEN = HERE.parent / "golden" / "formats"
LONGEST_ERROR = 4000  # characters
NUMBERS = (
    0,
    1,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0xFFFF,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**63 - 1,
    2**64 - 1,
)
WORDS = (b"../", b"/etc/passwd", b"\x00", b"{", b"}", b'"', b"[", b"NaN", b"1e999", b"-1")


def sources() -> list[Path]:
    """Return the files to begin with: what a framework wrote, without what it computed."""
    files = [path for path in sorted(GOLDEN.rglob("*")) if path.is_file()]
    is_model = [
        not path.stem.endswith("_run")
        and (path.suffix != ".npz" or path.parent.name in ("tf1", "npz"))
        for path in files
    ]
    kept = [path for path, keep in zip(files, is_model, strict=True) if keep]
    return [path for path in kept if path.suffix not in {".py", ".data"}]


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Return data with some damage."""
    result = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4, 16))):
        size = len(result)
        at = rng.randrange(size + 1)
        if rng.random() < 0.5:
            at = min(at, rng.randrange(2048))  # where the sizes stand, as a rule
        length = rng.choice((1, 2, 4, 8, 64))
        kind = rng.randrange(8)
        if kind == 0 and size:
            result[min(at, size - 1)] ^= 1 << rng.randrange(8)
        elif kind == 1:
            result[at : at + length] = rng.randbytes(length)
        elif kind == 2:
            width = rng.choice((1, 2, 4, 8))
            number = rng.choice(NUMBERS) % 256**width
            result[at : at + width] = number.to_bytes(width, rng.choice(("little", "big")))
        elif kind == 3:
            del result[at : at + rng.choice((1, 4, 100, size))]
        elif kind == 4:
            result[at:at] = result[at : at + length]
        elif kind == 5:
            other = rng.randrange(size + 1)
            result[at : at + length] = result[other : other + length]
        elif kind == 6:
            result[at:at] = rng.choice(WORDS)
        else:
            result[at : at + length] = bytes([rng.choice((0, 0xFF))]) * length
    return bytes(result)


def damaged(path: Path, seed: int) -> bytes:
    """Return what seed makes of a file; of some zip files, one member of a sound archive."""
    rng = random.Random(f"{path.name} {seed}")
    data = path.read_bytes()
    if (structure := structures.of(path)) and rng.random() < 0.5:
        return structure(data, rng)
    if not zipfile.is_zipfile(path) or rng.random() < 0.5:
        return mutate(data, rng)
    result = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(result, "w") as new:
        members = old.infolist()
        victim = rng.randrange(len(members))
        for n, member in enumerate(members):
            content = old.read(member)
            new.writestr(member, mutate(content, rng) if n == victim else content)
    return result.getvalue()


def options_for(path: Path) -> dict[str, Any]:
    return {"forget_bias": 1.0, "format": "tf1"} if path.parent.name == "tf1" else {}


def outcome(read: Callable[[], Any], size: int) -> str:
    """Return what is wrong with how a file of so many bytes is read, or nothing."""
    from lstm_fast import FormatError

    memory, _, error = limits.measured(read, limits.seconds_for(size))
    if isinstance(error, FormatError):
        if len(str(error)) > LONGEST_ERROR:
            return f"its error has {len(str(error))} characters: {str(error)[:80]}"
    elif error is not None:
        last = traceback.extract_tb(error.__traceback__)[-1]
        text = str(error)[:300]
        return f"{type(error).__name__}: {text} ({Path(last.filename).name}:{last.lineno})"
    if memory > limits.memory_for(size):
        return f"took {memory / limits.MEGABYTE:.0f} MB for a file of {size} bytes"
    return ""


def trial(path: Path, seed: int, folder: Path, read: Callable[..., Any]) -> str:
    """Read one damaged file; return what is wrong with how that went, or nothing."""
    target = folder / path.name
    data = damaged(path, seed)
    target.write_bytes(data)
    return outcome(lambda: read(target, **options_for(path)), len(data))


def _function(reader: str) -> Callable[..., Any]:
    module, _, name = reader.partition(":")
    function: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return function


def _work(path: Path, seeds: range, progress: Any, reader: str) -> None:
    """Try all seeds; runs in a process of its own, so that a crash is seen."""
    import warnings

    warnings.simplefilter("ignore")
    from lstm_fast import formats

    read = _function(reader)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 2)  # some libraries write what they think of the file
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for beside in path.parent.glob(path.stem + "*.data"):
            (folder / beside.name).write_bytes(beside.read_bytes())
        (folder / path.name).write_bytes(path.read_bytes())
        with suppress(
            formats.FormatError
        ):  # what the libraries take to get going is not the file's
            read(folder / path.name, **options_for(path))
        for seed in seeds:
            progress.send((seed, ""))
            if wrong := trial(path, seed, folder, read):
                progress.send((seed, wrong))
    progress.send((None, ""))


def fuzz(
    path: Path, seeds: range, reader: str = READER, patience: float = 60.0
) -> Iterator[tuple[int, str]]:
    """Yield (seed, what went wrong) of each damaged file that a reader cannot cope with."""
    context = get_context("spawn")
    while len(seeds):
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(target=_work, args=(path, seeds, theirs, reader), daemon=True)
        process.start()
        theirs.close()
        seed = seeds.start
        try:
            while True:
                if not ours.poll(patience):
                    process.kill()
                    yield seed, f"no answer for {patience} s"
                    break
                at, wrong = ours.recv()
                if at is None:
                    return
                seed = at
                if wrong:
                    yield seed, wrong
        except EOFError:
            process.join()
            yield seed, f"the process died: exit code {process.exitcode}"
        process.join()
        seeds = range(seed + 1, seeds.stop)  # go on behind the one that did it


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=10_000, help="damaged files in all")
    parser.add_argument("--start", type=int, default=0, help="the first seed")
    parser.add_argument("--only", default="", help="of the files whose name has this in it")
    parser.add_argument("--seed", type=int, help="just this one, with its whole traceback")
    parser.add_argument("--reader", default=READER, help="MODULE:FUNCTION that takes a path")
    parser.add_argument("--file", type=Path, action="append", help="instead of those of the folder")
    options = parser.parse_args()
    files = options.file or [p for p in sources() if options.only in str(p.relative_to(GOLDEN))]
    if options.seed is not None:
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / files[0].name
            target.write_bytes(damaged(files[0], options.seed))
            print(_function(options.reader)(target, **options_for(files[0])))
        return 0
    each = -(-options.count // len(files))
    failures, begin = 0, time.monotonic()
    for n, path in enumerate(files):
        name = path.name if options.file else path.relative_to(GOLDEN)
        seeds = range(options.start, options.start + each)
        for seed, wrong in fuzz(path, seeds, options.reader):
            failures += 1
            print(f"{name} seed {seed}: {wrong}", flush=True)
        seconds = time.monotonic() - begin
        print(f"{(n + 1) * each:>9} of {len(files) * each}, {seconds:.0f} s: {name}", flush=True)
    print(f"{failures} of {each * len(files)} damaged files were more than the readers can take")
    return failures > 0


if __name__ == "__main__":
    sys.exit(main())
