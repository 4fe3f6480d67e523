"""Reads files that are cut short meanwhile, in a process of its own: a signal would end it.

    python truncation.py cut MODULE:READER FILE VICTIM OPTIONS SEED...
    python truncation.py race MODULE:READER FILE VICTIM OPTIONS SEED...

`cut` shortens VICTIM, which is FILE or one beside it, just before one of the reads that brings
something of it; `race` does so from another thread, at any time. OPTIONS are JSON. What came of
each is printed: an error's class, or "read".
"""

from __future__ import annotations

import importlib
import io
import json
import mmap
import os
import random
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any

REAL_OPEN = io.open


class CutFile(io.FileIO):
    """A file that is cut short just before its nth read, so that this read brings nothing."""

    victim = ""
    counts: list[int]  # how many bytes each read brought
    when = -1  # which read
    rng: random.Random

    def _before(self) -> None:
        if self.name == self.victim and len(self.counts) == self.when:
            os.truncate(self.name, self.rng.randrange(self.tell() + 1))

    def _after(self, count: int) -> None:
        if self.name == self.victim:
            self.counts.append(count)

    def readinto(self, buffer: Any) -> int:
        self._before()
        count = super().readinto(buffer)
        self._after(count)
        return count

    def readall(self) -> bytes:
        self._before()
        data = super().readall()
        self._after(len(data))
        return data


def open_cut(file: Any, mode: str = "r", *args: Any, **options: Any) -> Any:
    """Do as `open`; what is read in bytes is a file that can be cut."""
    if mode != "rb":
        return REAL_OPEN(file, mode, *args, **options)
    return io.BufferedReader(CutFile(os.fspath(file)), 512)


def trial(read: Any, path: Path, options: dict[str, Any]) -> str:
    try:
        for one in read(path, **options):
            if one.error is not None:  # it stands in the place of an LSTM
                return type(one.error).__name__
    except (ValueError, OSError) as error:  # FormatError is one of the first
        return type(error).__name__
    return "read"


def cut(read: Any, path: Path, victim: Path, options: dict[str, Any], seed: int) -> str:
    """Cut it before the nth read; from seed to seed n goes round over all of them."""
    CutFile.victim, CutFile.counts, CutFile.when = str(victim), [], -1
    CutFile.rng = random.Random(seed)
    io.open = open_cut  # type: ignore[assignment]  # which pathlib and zipfile call
    try:
        assert trial(read, path, options) == "read"
        reads = [n for n, count in enumerate(CutFile.counts) if count]
        assert reads, "it is not read as a file"
        CutFile.when, CutFile.counts = reads[seed % len(reads)], []
        return trial(read, path, options)
    finally:
        io.open = REAL_OPEN


def race(read: Any, path: Path, victim: Path, options: dict[str, Any], seed: int) -> str:
    """Cut it from another thread, within about the time that reading takes."""
    begin = time.perf_counter()
    assert trial(read, path, options) == "read"
    rng, duration = random.Random(seed), time.perf_counter() - begin
    wait, size = rng.random() * duration, rng.randrange(victim.stat().st_size)

    def shorten() -> None:
        time.sleep(wait)
        os.truncate(victim, size)

    thread = threading.Thread(target=shorten)
    thread.start()
    try:
        return trial(read, path, options)
    finally:
        thread.join()


def maps(path: Path) -> list[Any]:
    """Read a file as no reader may, through a mapping: the negative control."""
    with io.open(path, "rb") as file:  # noqa: UP020  (the one that is replaced here)
        view = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        file.read(1)
        return list(view[::4096])[:0]


def main() -> None:
    way, reader, file, victim, options, *seeds = sys.argv[1:]
    module, _, name = reader.partition(":")
    read = maps if name == "maps" else getattr(importlib.import_module(module), name)
    data = Path(victim).read_bytes()
    warnings.simplefilter("ignore")
    run = {"cut": cut, "race": race}[way]
    for seed in seeds:
        Path(victim).write_bytes(data)
        print(run(read, Path(file), Path(victim), json.loads(options), int(seed)), flush=True)


if __name__ == "__main__":
    main()
