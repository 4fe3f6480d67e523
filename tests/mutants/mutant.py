"""What a mistake is, and the tests that many of them die of."""

from __future__ import annotations

from typing import NamedTuple

ERRORS = "tests/lstm/test_errors.py"
HYGIENE = "tests/streams/test_state_hygiene.py"
STREAMS = "tests/streams/test_streams.py"
SNAPSHOTS = "tests/streams/test_snapshots.py"
SNAPSHOT_FILES = "tests/streams/test_snapshot_files.py"
HOSTILE = "tests/streams/test_hostile_snapshots.py"
POOL_ERRORS = "tests/pools/test_pool_errors.py"
OUTLIVES = STREAMS + "::test_prepare_does_not_outlive_what_it_was_made_from -k native"


class Mutant(NamedTuple):
    """One mistake: what is wrong then, where, what becomes what, and which test dies of it.

    `before` stands exactly once in the file. `killer` is what pytest is told to run: the quickest
    test that notices.
    """

    what: str
    file: str
    before: str
    after: str
    killer: str

    @property
    def needs_numba(self) -> bool:
        """Whether its killer has to run Numba's kernels; the others are quicker without."""
        return "numba" in self.file


def golden(case: str) -> str:
    """Return the test of one case of the golden corpus."""
    return f"'tests/backends/test_golden_bits.py::test_bits[{case}]'"


def program(name: str) -> str:
    """Return the test that runs one program of tests/c."""
    return f"'tests/c/test_c_core.py::test_core_quickly[{name}.c]'"


CORE, POOL_C = program("test_core"), program("test_pool")
SNAPSHOT_C, VARIANTS_C = program("test_snapshot"), program("test_variants")
MATRIX_C = program("test_matrix")
WAITS_C, PLACES_C = program("test_pool_waits"), program("test_places")
NULLS_C = program("test_nulls")
