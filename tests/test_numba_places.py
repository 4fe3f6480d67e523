"""Numba's weights are put where steps are quick, by a made-up clock, and stay the same weights."""

import numpy as np
import pytest

import lstm_fast

pytest.importorskip("numba")

from lstm_fast._backends import _numba_places as places

SIZE = 600_000  # bytes; places overlap
STARTS = range(0, places.REGION - SIZE + 1, places.APART)
VALUES = np.arange(SIZE // 4, dtype=np.float32)


@pytest.fixture
def machine(monkeypatch):
    """A machine where a step takes what `cost(place, how often it was there)` says, in ns."""

    class Machine:
        def __init__(self):
            self.now, self.first, self.steps = 0, None, {}

        def cost(self, place, count):
            return 5

        def step(self, address):
            self.first = address if self.first is None else self.first
            place = (address - self.first) // places.APART
            self.steps[place] = self.steps.get(place, 0) + 1
            self.now += self.cost(place, self.steps[place])

    made = Machine()
    monkeypatch.setattr(places, "perf_counter_ns", lambda: made.now)
    return made


def where(machine, weights):
    """The place that was chosen, which has the weights whole and is aligned."""
    assert np.array_equal(weights, VALUES)
    assert weights.dtype == VALUES.dtype
    assert weights.ctypes.data % places.CACHE_LINE == 0
    return (weights.ctypes.data - machine.first) / places.APART


@pytest.mark.parametrize("quick", range(len(STARTS)))
def test_the_quickest_place_is_found(machine, quick):
    machine.cost = lambda place, count: 5 if place == quick else 6
    assert where(machine, places.quickest(VALUES, machine.step)) == quick
    assert set(machine.steps.values()) == {places.STEPS}
    assert len(machine.steps) == len(STARTS)


@pytest.mark.parametrize("quick", range(len(STARTS)))
def test_neither_the_first_steps_nor_some_others_decide(machine, quick):
    def cost(place, count):
        odd = count <= places.STEPS_TO_SETTLE or count % 3 == 0
        return 5 if (place == quick) != odd else 9

    machine.cost = cost
    assert where(machine, places.quickest(VALUES, machine.step)) == quick


def test_something_else_is_read_before_each_step(machine):
    done = []

    class Others:
        def max(self):
            machine.now += 1000  # which is not the step's time
            done.append("read")

    def step():
        machine.now += 5
        done.append("step")

    assert places._time(step, Others()) == 5
    assert done == ["read", "step"] * places.STEPS


@pytest.mark.parametrize("size", [SIZE, places.FEWEST, places.MOST])
def test_what_is_read_is_beside_the_place(monkeypatch, size):
    tried = []

    def time(step, others):
        tried.append((step.args[0], others))
        return len(tried)

    monkeypatch.setattr(places, "_time", time)
    places.quickest(np.zeros(size // 4, np.float32), lambda address: None)
    assert len(tried) >= 3
    for address, others in tried:
        assert others.nbytes == places.OTHERS
        beside = others.ctypes.data
        assert beside >= address + size or beside + others.nbytes <= address
        assert abs(beside - address) < places.REGION


@pytest.mark.parametrize(
    ("size", "dtype"),
    [(64, "f4"), (places.FEWEST - 4, "f4"), (places.MOST + 4, "f4"), (SIZE, "u2"), (SIZE, "i1")],
)
def test_nothing_is_tried_where_it_can_not_matter(size, dtype):
    values = np.arange(size // np.dtype(dtype).itemsize).astype(dtype)
    weights = places.quickest(values, lambda address: pytest.fail("a step was tried"))
    assert np.array_equal(weights, values)
    assert weights.ctypes.data % places.CACHE_LINE == 0


@pytest.mark.parametrize("options", [{}, {"proj_size": 70}], ids=["plain", "variant"])
@pytest.mark.parametrize("pages", ["large", "none"])
def test_trying_changes_no_bit(monkeypatch, options, pages):
    if pages == "none":
        monkeypatch.delattr("mmap.MADV_HUGEPAGE", raising=False)
    xs = np.random.default_rng(1).standard_normal((3, 128)).astype(np.float32)
    tried = []

    def trying(values, step):
        return places.quickest(values, lambda address: (tried.append(address), step(address)))

    outputs = []
    for place in (trying, lambda values, step: places.aligned(values)):
        monkeypatch.setattr("lstm_fast._backends.numba.quickest", place)
        lstm = lstm_fast.LSTM.random(128, 128, backend="numba", **options)
        outputs.append(lstm.stream().run(xs))
    assert len(tried) == 8 * places.STEPS  # so many weights have eight places
    assert np.array_equal(*outputs)
