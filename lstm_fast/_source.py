"""What is read: a file by its path, an open file, or bytes that are at hand."""

from __future__ import annotations

import errno
import io
import os
import stat
from functools import cached_property
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, BinaryIO, TypeAlias

from ._budget import Budget
from ._shown import shown
from .errors import FormatError

__all__ = ["Readable", "Source"]

# bytes are what a file holds, and never its path.
Readable: TypeAlias = "str | os.PathLike[Any] | bytes | bytearray | memoryview | BinaryIO | Source"
SMALL = 1 << 16  # bytes of a file that is read at once, which is quicker than to open it again
OPENING_STEPS = 200  # of a file beside, with looking where its links lead
# Of which a system has some; with the first, nothing waits for the other end of a pipe.
FLAGS = ("O_NONBLOCK", "O_CLOEXEC", "O_NOCTTY", "O_BINARY")
OPENING = sum(getattr(os, name, 0) for name in FLAGS)


class Source:
    """A file that nobody vouches for, and what reading it may take.

    Devices, pipes and sockets are refused: they might never end.

    path: None where bytes or an open file were given.
    name: of the file, without its folders; "" without one.
    size: in bytes.
    """

    path: Path | None
    name: str
    size: int
    _title: str
    _data: bytes | None

    def __init__(
        self, given: Readable, error: type[ValueError] = FormatError, most: int | None = None
    ) -> None:
        """Look at what was given; an open file is read from its position to its end.

        Args:
            given: a path; bytes, bytearray or memoryview of what the file holds; or a binary file
                that is open for reading, such as BytesIO.
            error: what is raised for what is not a regular file.
            most: bytes that it may have; no more are read of an open file. None: any number.

        Raises:
            TypeError: it is none of these, such as a file in text mode.
            OSError: it cannot be opened.
            FormatError (`error`): it is not a regular file, or too large; or no file can have this
                name, such as one with a NUL.
        """
        self._error = error
        self._beside: dict[str, Source] = {}
        self._identified: dict[tuple[int, int], Source] = {}
        self._data = None
        self.path = None
        if isinstance(given, Source):
            self._title, self._data, self.path = given._title, given._data, given.path
            self.name = given.name
        elif isinstance(given, (bytes, bytearray, memoryview)):
            self._title, self._data, self.name = f"<{type(given).__name__}>", bytes(given), ""
        elif isinstance(given, (str, os.PathLike)):
            self.path = Path(os.fsdecode(given))
            self._title, self.name = str(self.path), self.path.name
        else:
            self._title, self.name = _title(given)
            self._data = _contents(given, self._title, error, most)
        if self._data is None:
            with self.open() as file:
                self.size = os.fstat(file.fileno()).st_size
                if self.size <= SMALL:
                    self._data = file.read(self.size) or b""
            if self._data is not None and len(self._data) != self.size:
                raise error(f"{self._title}: it was cut short while it was read")
        else:
            self.size = len(self._data)
        if most is not None and self.size > most:
            raise error(f"{self._title}: it has more than {most} bytes, the most that it may have")

    @classmethod
    def of(cls, given: Readable) -> Source:
        """Return a `Source` that was given as it is, with what is left of its budget; or a new one.

        Raises:
            TypeError, OSError, FormatError: see `Source`.
        """
        return given if isinstance(given, Source) else cls(given)

    def __str__(self) -> str:
        return self._title

    @property
    def suffix(self) -> str:
        """The end of its name from the last full stop, in small letters."""
        return os.path.splitext(self.name)[1].lower()

    @cached_property
    def budget(self) -> Budget:
        """What reading it may take, shared by all that read this object."""
        return Budget(self, self.size, self._error)

    @cached_property
    def _folders(self) -> set[Path]:
        """Where it is, and where what it links to is; the files beside it may be there."""
        path = self.path or Path()
        return {path.parent.resolve(), path.resolve().parent}

    def open(self) -> BinaryIO:
        """Return the file, open for reading at its beginning. It is the caller's.

        Raises:
            OSError: it cannot be opened.
            FormatError: it is not a regular file, or none any more.
        """
        if self._data is not None or self.path is None:
            return io.BytesIO(self._data or b"")
        return _opened(self.path, self._error)

    def read(self) -> bytes:
        """Return what it holds: as much as there was at first.

        Raises:
            OSError, FormatError: see `open`.
        """
        if self._data is not None:
            return self._data
        with self.open() as file:
            return file.read(self.size) or b""  # None of what is not there yet, as in /proc

    def part(self, name: str, data: bytes) -> Source:
        """Return what a part of this file holds, as a file of that name within its budget."""
        found = Source(data, self._error)
        found._title, found.name = f"{self}: {shown(name)}", name
        found.budget = self.budget
        return found

    def beside(self, name: str) -> Source:
        """Return a file of the same folder, or of a folder in it, by its relative path.

        It shares the budget of this one, to which it adds.

        A link may lead to where this file itself is: download caches keep all files of a model in
        one folder, and link to them.

        Raises:
            ValueError: the name, or the link there, leads out of the folder; this is not a file
                with a path; or there is no such regular file.
            OSError: it cannot be opened.
        """
        if name in self._beside:
            return self._beside[name]
        if self.path is None:
            raise ValueError(
                f"there is more of it in another file, {shown(name)}, which is looked for beside "
                "it: give the path of the file, not what it holds"
            )
        names = (PurePosixPath(name), PureWindowsPath(name))
        if (
            not name
            or "\0" in name
            or any(one.is_absolute() or one.drive or ".." in one.parts for one in names)
        ):
            raise ValueError(f"{shown(name)} is outside of the file's folder")
        path = self.path.parent / name
        try:
            folders, target = self._folders, path.resolve()
        except (OSError, RuntimeError):  # RuntimeError before Python 3.13
            raise ValueError(f"{shown(name)} is a link that leads to itself") from None
        if not any(target.is_relative_to(folder) for folder in folders):
            raise ValueError(
                f"{shown(name)} is a link out of the file's folder, which is not followed: put "
                "the file itself there"
            )
        try:
            is_there = path.exists()
        except OSError:  # a name that is too long for one
            is_there = False
        if not is_there:
            raise ValueError(f"{shown(name)} is missing beside it: fetch it, too")
        # One file may have several names, of which only the first adds to the budget.
        self.budget.work(OPENING_STEPS, "opening the files beside it")
        found = self._identified.setdefault(_identity(path), Source(path, self._error))
        if "budget" not in vars(found):
            if _identity(self.path) != _identity(path):
                self.budget.add(found.size)
            found.budget = self.budget
        self._beside[name] = found
        return found


def _identity(path: Path) -> tuple[int, int]:
    """Return what tells a file from all others, whatever its name is."""
    found = os.stat(path)
    return found.st_dev, found.st_ino


def _title(file: Any) -> tuple[str, str]:
    """Return what an open file is called in errors, and its name."""
    name = getattr(file, "name", None)
    if isinstance(name, (str, bytes)) and name:
        path = os.fsdecode(name)
        return path, Path(path).name
    return f"<{type(file).__name__}>", ""


def _contents(file: Any, title: str, error: type[ValueError], most: int | None) -> bytes:
    """Return what an open file holds from its position on; of one too large, a byte too much."""
    if isinstance(file, io.TextIOBase) or not callable(getattr(file, "read", None)):
        kind = "a file in text mode" if isinstance(file, io.TextIOBase) else type(file).__name__
        raise TypeError(
            f"what is read is a path, bytes, or a file that is open in binary mode ('rb'), found "
            f"{kind}"
        )
    try:
        mode = os.fstat(file.fileno()).st_mode
    except (OSError, AttributeError, TypeError, ValueError):  # such as BytesIO, which has none
        mode = stat.S_IFREG
    _check_regular(mode, title, error, "give what it holds, file.read()")
    data = file.read() if most is None else file.read(most + 1)
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise TypeError(f"{title}: it gave {type(data).__name__}, not bytes: open it with 'rb'")
    if not data and (at := _place(file)):
        raise error(
            f"{title}: its position is byte {at}, behind which there is nothing: go back to its "
            "beginning, file.seek(0)"
        )
    return bytes(data)


def _place(file: Any) -> int:
    """Return the position of an open file; 0 where it cannot say."""
    try:
        return int(file.tell())
    except (OSError, AttributeError, TypeError, ValueError):
        return 0


def _opened(path: Path, error: type[ValueError]) -> BinaryIO:
    try:
        _check_regular(os.stat(path).st_mode, str(path), error)  # opening some devices does things
        file = io.open(path, "rb", opener=_opener)  # noqa: SIM115, UP020  (which tests replace)
    except error:
        raise
    except OSError as failed:
        if failed.errno == errno.ELOOP:
            raise error(f"{path}: it is a link that leads to itself") from None
        raise
    except ValueError as failed:  # of a NUL in it, or half a character of UTF-16
        raise error(f"{path}: no file can have this name: {failed}") from None
    try:  # which may have been put in its place since
        _check_regular(os.fstat(file.fileno()).st_mode, str(path), error)
    except BaseException:
        file.close()
        raise
    return file


def _opener(path: str, flags: int) -> int:
    return os.open(path, flags | OPENING)


def _check_regular(
    mode: int, title: str, error: type[ValueError], step: str = "write it to a file"
) -> None:
    if stat.S_ISDIR(mode):
        raise error(f"{title}: it is a directory: give a file in it")
    if not stat.S_ISREG(mode):
        raise error(
            f"{title}: it is not a regular file but a pipe or device, which might never end: {step}"
        )
