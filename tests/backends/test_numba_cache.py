"""What Numba keeps of kernels on disk is not used once a source has changed that they call."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import lstm_fast
from processes import python

pytest.importorskip("numba")

STATUS = """
    import sys
    sys.path.insert(0, {folder!r})
    import lstm_fast._backends._numba_cache as cache
    cache.DIGEST = {digest} or cache.DIGEST
    import lstm_fast._backends._numba_kernels as kernels
    from lstm_fast._backends._numba_flags import new_flags
    flags = new_flags()
    null, pointer = kernels.ffi.NULL, kernels.ffi.cast("void *", flags.ctypes.data)
    print(kernels.copy_state(null, null, 0, False, pointer), kernels._copy_state.cache_hits)
"""


@pytest.fixture
def package(tmp_path):
    """A copy of the package without its core."""
    source = Path(lstm_fast.__file__).parent
    ignored = shutil.ignore_patterns("__pycache__", "*.so", "*.pyd")
    return Path(shutil.copytree(source, tmp_path / "lstm_fast", ignore=ignored))


def status(package, digest=None):
    """What a kernel returns that asks a function of another file, and whether it was on disk."""
    code = STATUS.format(folder=str(package.parent), digest=repr(digest))
    process = python(code, NUMBA_CACHE_DIR=str(package.parent / "cache"))
    assert not process.returncode, process.stderr
    return tuple(map(int, process.stdout.split()))


def change(package):
    """Make `enter`, in another file than the kernel, return 5 in place of 0."""
    path = package / "_backends" / "_numba_flags.py"
    text = path.read_text()
    assert "DONE, BUSY, FORKED = 0, 1, 2" in text
    path.write_text(text.replace("DONE, BUSY, FORKED = 0, 1, 2", "DONE, BUSY, FORKED = 5, 1, 2"))


def test_a_change_in_another_file_compiles_anew(package):
    assert status(package) == (0, 0)
    assert status(package) == (0, 1)
    change(package)
    assert status(package) == (5, 0)
    assert status(package) == (5, 1)


def test_without_the_digest_it_would_not(package):
    """Negative control: a kernel of before the change is taken."""
    assert status(package, "same") == (0, 0)
    change(package)
    assert status(package, "same") == (0, 1)


def test_every_kernel_is_kept_under_the_digest():
    """So that none is compiled another way."""
    pieces = Path(lstm_fast.__file__).parent.glob("_backends/*.py")
    assert [path.name for path in pieces if "cfunc(" in path.read_text()] == ["_numba_cache.py"]
