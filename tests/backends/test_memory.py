"""Weights are where large pages can be, whatever the C library does with its heap."""

import re
from pathlib import Path

import pytest

import lstm_fast
from processes import python

if not lstm_fast.available()[0].startswith("native"):
    pytest.skip("large pages are the native core's", allow_module_level=True)
# The second says of each mapping whether it is advised to be large pages.
for needed in ("/sys/kernel/mm/transparent_hugepage/enabled", "/proc/self/smaps"):
    if not Path(needed).exists():
        pytest.skip(f"there is no {needed}", allow_module_level=True)

LARGE = 2 << 20
# What glibc does by itself once a program has given back something large: all comes from the heap.
HEAP_SERVES_ALL = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20)}
# The first two share a large page, the next two have one each; the last needs a bit more than one.
SHAPES = [(64, 64, 1), (8, 40, 1), (128, 128, 1), (128, 128, 2), (256, 256, 1)]
PAGES = 1 + 1 + 1 + 2
PROGRAM = f"""
import re
import lstm_fast

def make():
    for shape in {SHAPES}:
        yield lstm_fast.LSTM.random(*shape, backend="native")

def show():
    print(open("/proc/self/smaps").read(), "end")
    print(re.search(r"VmSize:.*", open("/proc/self/status").read())[0], "end")

lstms = list(make())
show()
del lstms
show()
for _ in range(20):
    list(make())
show()
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
    # glibc and NumPy can ask for large pages, too
    done = python(PROGRAM, GLIBC_TUNABLES="", NUMPY_MADVISE_HUGEPAGE="0", **heap)
    assert done.returncode == 0, done.stderr
    made, _, given_back, size, given_back_again, size_again, _ = done.stdout.split("end\n")
    assert not any(name for *_, name in advised(made))  # such as [heap]
    assert all(start % LARGE == 0 and end % LARGE == 0 for start, end, _ in advised(made))
    assert sum(end - start for start, end, _ in advised(made)) == PAGES * LARGE
    assert advised(given_back) == advised(given_back_again) == []
    kib = [int(text.split()[1]) for text in (size, size_again)]
    assert kib[1] - kib[0] < 4 * 2048  # 20 times as much has come and gone
