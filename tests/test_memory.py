"""Weights are in large pages of their own, whatever the C library does with its heap."""

import os
import re
import subprocess
import sys

import pytest

import lstm_fast

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not lstm_fast.available()[0].startswith("native"),
    reason="the core's large pages are Linux's",
)

LARGE = 2 << 20
# What glibc does by itself once a program has given back something large: all comes from the heap.
HEAP_SERVES_ALL = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20)}
# The first two share a large page, the next two have one each; the last needs a bit more than one.
SHAPES, PAGES = "64x64x1 8x40x1 128x128x1 128x128x2 256x256x1", 1 + 1 + 1 + 2
PROGRAM = """
import sys
import lstm_fast

def make():
    for size in sys.argv[1].split():
        input_size, hidden_size, num_layers = map(int, size.split("x"))
        yield lstm_fast.LSTM.random(input_size, hidden_size, num_layers, backend="native")

lstms = list(make())
print(open("/proc/self/smaps").read())
del lstms
for _ in range(20):
    list(make())
print("given back")
print(open("/proc/self/smaps").read())
"""


def advised(smaps):
    """The mappings that are advised to be large pages: (first address, end, name)."""
    found = []
    for line in smaps.splitlines():
        if header := re.match(r"([0-9a-f]+)-([0-9a-f]+) (?:\S+ ){3}\S+ *(.*)", line):
            mapping = int(header[1], 16), int(header[2], 16), header[3]
        elif re.match(r"VmFlags:.* hg\b", line):
            found.append(mapping)
    return found


@pytest.mark.parametrize("heap", [{}, HEAP_SERVES_ALL], ids=["glibc decides", "heap serves all"])
def test_weights_are_in_large_pages_and_not_in_the_heap(heap):
    env = {**os.environ, "GLIBC_TUNABLES": "", **heap}  # which can ask for large pages in the heap
    command = [sys.executable, "-c", PROGRAM, SHAPES]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    made, given_back = map(advised, done.stdout.split("given back"))
    if not made:
        pytest.skip("this system knows no large pages")
    assert not any(name for *_, name in made)  # such as [heap]
    assert all(start % LARGE == 0 and end % LARGE == 0 for start, end, _ in made)
    assert sum(end - start for start, end, _ in made) == PAGES * LARGE
    assert given_back == []
