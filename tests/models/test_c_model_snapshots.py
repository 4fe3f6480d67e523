"""Snapshots of whole models in C are Python's, byte for byte: a session moves between the two."""

from __future__ import annotations

import random

import pytest
from program_cases import BACKENDS, PROGRAMS, Builder, halves, named
from random_programs import random_frames, random_program

from lstm_fast import Model, SnapshotError, available
from lstm_fast._weight_types import weight_types

if not available()[0].startswith("native"):
    pytest.skip("no native core here", allow_module_level=True)

from lstm_fast._backends._native_core import WEIGHT_TYPES, Addresses, ffi, from_buffer, lib

NAMES = [
    *('"quoted"', "back\\slash", "tab\tline\nreturn\rfeed\fbell\bdel\x7f\x01", "/path/[0]"),
    *("ümlaut", "漢字", "😀 beyond \U0001f600", "\ud7ff\ue000\uffff\U00010000\U0010ffff", "a"),
]
STEPS = 6


def of_all_kinds(seed=0):
    """States of float32, int64 and bool, of rank 0 to 4, and with names that JSON escapes."""
    build = Builder(seed)
    x = build.input('x "\x00"'.replace("\x00", "é"), (2, 3), history=2)
    whole = build.input("whole", (3,), "int64", history=4)
    flag = build.input("flag", (1, 2, 2), "bool", history=1)
    total = build.op("reduce", x, kind="sum", axes=(0, 1), keepdims=False)
    for n, name in enumerate(NAMES):
        state = build.state(name, (1,) * (n % 5), build.rng.standard_normal((1,) * (n % 5)))
        half = build.op("mul", state, build.constant(0.5))
        build.keep(name, half if n % 5 else build.op("add", half, total))
    for n, number in enumerate((total, whole, flag)):
        build.output(f"y{n}", number)
    return build.program()


def stateless(seed=0):
    build = Builder(seed)
    build.output("y", build.op("dense", build.input("x", (5,)), build.weights(3, 5)))
    return build.program()


def products(seed=0):
    """Every product, and a state."""
    build = Builder(seed)
    x = build.input("x", (2, 3, 4), history=1)
    y = build.op("conv2d", x, build.weights(3, 2, 2, 2), strides=(1, 2))
    y = build.op("conv", build.op("reshape", y, shape=(3, 4)), build.weights(2, 3, 2))
    build.output("y", build.op("dense", y, build.weights(2, 3)))
    return build.program()


MAKERS = {**PROGRAMS, "halves": halves, "kinds": of_all_kinds, "stateless": stateless}
MAKERS["products"] = products
TYPES = {
    "chain": ("float32", "float16", "int8", {0: "float16", 2: "int8"}, {"lstm": "float16"}),
    "halves": ("float16", {"lstm": "int8"}, {"lstm": "int8", "gru": "float16"}),
    "rich": ("float16", {"lstm": "int8"}),
    "stateless": ("float16",),
    "products": ("float16", {"conv2d": "float16"}, {"conv": "float16"}, {"dense": "float16"}),
}
CASES = [(name, type_) for name in MAKERS for type_ in ("float32", *TYPES.get(name, ()))]
cases = pytest.mark.parametrize(("name", "weight_dtype"), CASES, ids=map(str, range(len(CASES))))


class CStream:
    """A stream of the core, of the bytes of a file."""

    def __init__(self, model):
        program, data = model.program, model.to_bytes()
        types = [WEIGHT_TYPES[one] for one in weight_types(program, model.weight_dtype)]
        made, stream = ffi.new("lf_model **"), ffi.new("lf_stream **")
        kinds = ffi.new("lf_weight_type[]", types)
        status = lib.lf_model_load_as(
            from_buffer(data), len(data), kinds, len(types), ffi.NULL, made
        )
        assert not status
        self.model = ffi.gc(made[0], lib.lf_model_destroy)
        assert not lib.lf_stream_create(self.model, stream)
        self.stream = ffi.gc(stream[0], lib.lf_stream_destroy)
        self.outputs = model.outputs

    def snapshot(self):
        result = bytearray(lib.lf_snapshot_bytes(self.model))
        assert not lib.lf_stream_snapshot(self.stream, ffi.from_buffer(result), len(result))
        return bytes(result)

    def restore(self, data):
        return lib.lf_stream_restore(self.stream, ffi.from_buffer(data), len(data))

    def run(self, xs):
        from lstm_fast._frames import empty

        steps = len(next(iter(xs.values())))
        ys = empty(self.outputs, (steps,))
        given, taken = Addresses(xs.values()), Addresses(ys, writable=True)
        assert not lib.lf_stream_run(self.stream, given.pointers, steps, taken.pointers)
        return bits(dict(zip(self.outputs, ys, strict=True)))


def bits(values):
    return [(key, value.dtype, value.shape, value.tobytes()) for key, value in values.items()]


def cut(xs, begin, end):
    return {key: value[begin:end] for key, value in xs.items()}


def ran(stream, xs):
    return bits(named(stream.model, stream.run(xs)))


def check(program, weight_dtype):
    model = Model.from_program(program, backend="native", weight_dtype=weight_dtype)
    there, stream = CStream(model), model.stream()
    xs = random_frames(program, 3 * STEPS, 4)
    assert there.snapshot() == stream.snapshot()
    stream.run(cut(xs, 0, STEPS))
    data = stream.snapshot()
    assert there.restore(data) == lib.LF_OK
    assert there.snapshot() == data
    assert there.run(cut(xs, STEPS, 2 * STEPS)) == ran(stream, cut(xs, STEPS, 2 * STEPS))
    back = model.stream()
    back.restore(there.snapshot())
    assert ran(back, cut(xs, 2 * STEPS, None)) == ran(stream, cut(xs, 2 * STEPS, None))
    pool = model.pool(1)
    assert pool.snapshot(pool.restore(there.snapshot())) == there.snapshot()
    return model, there


@cases
def test_a_session_moves_to_c_and_back(name, weight_dtype):
    check(MAKERS[name](), weight_dtype)


@pytest.mark.parametrize("seed", range(12))
def test_sessions_of_random_programs(seed):
    check(random_program(random.Random(seed), 8), "float32")


@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "native"])
@pytest.mark.parametrize("name", [name for name in MAKERS if name != "halves"])
def test_other_backends_read_and_write_the_same(name, backend):
    """Their values are those of C only where their bits are; what they read they keep."""
    model, there = check(MAKERS[name](), "float32")
    other = Model.from_bytes(model.to_bytes(), backend=backend)
    stream, pool = other.stream(), other.pool(1)
    stream.restore(there.snapshot())
    assert stream.snapshot() == there.snapshot()
    assert pool.snapshot(pool.restore(there.snapshot())) == there.snapshot()
    stream.run(random_frames(model.program, 2, 5))
    before = there.snapshot()
    assert there.restore(stream.snapshot()) == lib.LF_OK
    assert there.snapshot() == stream.snapshot()
    assert (before != stream.snapshot()) == bool(model.states)  # the control


def test_other_models_are_refused():
    models = [
        Model.from_program(MAKERS["chain"](seed), backend="native", weight_dtype=weight_dtype)
        for seed, weight_dtype in ((0, "float32"), (0, "int8"), (0, {2: "int8"}), (1, "float32"))
    ]
    streams = [CStream(model) for model in models]
    for n, one in enumerate(streams):
        for m, other in enumerate(models):
            data = one.snapshot()
            if n == m:
                other.stream().restore(data)
                assert streams[m].restore(data) == lib.LF_OK
                continue
            assert streams[m].restore(data) == lib.LF_ERR_WEIGHTS
            with pytest.raises(SnapshotError, match="other weights"):
                other.stream().restore(data)
