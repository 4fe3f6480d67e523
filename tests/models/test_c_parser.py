"""The C parser of `.lfm` files reads what Python reads, as Python does, and refuses the rest."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import replace
from pathlib import Path

import c_parser
import fuzz_c_parser
import fuzz_lfm
import numpy as np
import pytest
from c_parser import CSRC, REFUSED, described, disagreements, printed
from program_cases import PROGRAMS, Builder
from random_operations import random_program

from lstm_fast import Model, _lfm, _program_checks
from lstm_fast.operations import OPERATIONS
from lstm_fast.program import Input, Op, Output, Program, Tensor

if not CSRC.exists():
    pytest.skip("the tests run without the sources", allow_module_level=True)
if not c_parser.COMPILER:
    pytest.skip("neither gcc nor clang is installed", allow_module_level=True)

GOLDEN = Path(__file__).parents[1] / "golden/rich_1.lfm"
FILES = {name: Model.from_program(make()).to_bytes() for name, make in PROGRAMS.items()}
FILES["golden"] = GOLDEN.read_bytes()
names = pytest.mark.parametrize("name", FILES)


@pytest.fixture(scope="module")
def parser(tmp_path_factory):
    return c_parser.build(tmp_path_factory.mktemp("parser"))


def sealed(body):
    return bytes(body) + hashlib.sha256(body).digest()


def test_the_tables_of_operations_are_equal(parser):
    numbered = sorted(OPERATIONS.values(), key=lambda one: one.number)
    rows = [c_parser.row_of(one) for one in numbered]
    assert printed(parser, [], "table") == rows
    other = replace(numbered[0], inputs=("x", "=weight", "bias?"))
    assert c_parser.row_of(other) not in rows


@names
def test_a_program_is_what_python_reads(parser, name):
    found = printed(parser, [FILES[name]])
    assert found == [described(_lfm.from_bytes(FILES[name]))]
    assert found != [described(_lfm.from_bytes(FILES["chain" if name == "rich" else "rich"]))] or (
        name == "golden"  # negative control, for the two that differ
    )


# ---- what is not one byte less or more than a program ----


def register(initial=(0.0, 1.0), name="r", given="x", history=0):
    """A program of one addition, with a state, a constant and a note; nothing has checked it."""
    build = Builder()
    x = build.input(given, (2,), history=history)
    part = x
    if history:
        part = build.op("slice", x, starts=(0,), ends=(2,), steps=(1,))
    r = build.state(name, (2,), initial)
    y = build.op("add", build.op("add", part, r), build.constant(np.float32([1, 2])))
    build.keep(name, y)
    build.output("y", y)
    return build.program("note")


def written(program):
    """A program as a file; its attributes may be left out where `complete` fills them in."""
    ops = (
        replace(op, attributes=_program_checks.complete(op.code, op.attributes))
        for op in program.ops
    )
    return _lfm.to_bytes(replace(program, ops=tuple(ops)))


def words_of(file):
    return list(struct.unpack_from(f"<{struct.unpack_from('<I', file, 40)[0]}I", file, 64))


def rewritten(file, change, text=lambda text: text, arrays=lambda arrays: arrays):
    """A file of other records, text and arrays, whose header fits."""
    header = list(struct.unpack_from("<16I", file))
    begin = 64 + 4 * header[10]
    body = file[: -_lfm.CHECKSUM_BYTES]
    blob = arrays(body[-(-(begin + header[11]) // 64) * 64 :])
    words = words_of(file)
    change(words)
    strings = text(file[begin : begin + header[11]])
    header[10], header[11], header[12] = len(words), len(strings), len(blob)
    head = struct.pack(f"<{16 + len(words)}I", *header, *words) + strings
    return sealed(head.ljust(-(-len(head) // 64) * 64, b"\0") + blob)


def nothing(words):
    """Changes none of them."""


def noted(note):
    """A file with a note of these bytes, which may be none."""
    file = written(register())

    def change(words):
        words[-1] = len(note)

    return rewritten(file, change, lambda text: text.removesuffix(b"note") + note)


def with_input(given, **options):
    return written(register(given=given, **options))


def twice_the_same_text():
    """As its source, the second operation has a copy of the first one's."""
    program = register()
    first, second = program.ops
    program = replace(program, ops=(first, replace(second, source="/add/?")))
    return written(program).replace(b"/add/?", first.source.encode(), 1)


def resealed(file):
    return sealed(file[: -_lfm.CHECKSUM_BYTES])


def patched(at, value, file=None):
    """A file with another byte, from the beginning or the end of what the checksum is of."""
    body = bytearray((file or written(register()))[: -_lfm.CHECKSUM_BYTES])
    body[at] = value
    return sealed(body)


def of_state(bits):
    return written(register(np.array([bits, 0], np.uint32).view(np.float32)))


def of_indices(*indices):
    build = Builder()
    x = build.input("x", (3,))
    build.output("y", build.op("gather", x, build.constant(np.array(indices)), axis=0))
    return written(build.program())


def of_total(size):
    """Nothing but tensors that nobody uses, as many values as that with the two of `register`."""
    program = register()
    used = sum(np.prod(one.shape) for n, one in enumerate(program.tensors) if n != 4)
    left = size - int(used)
    more = (Tensor((2**28,)), Tensor((left - 2**28,))) if left > 2**28 else (Tensor((left,)),)
    return written(replace(program, tensors=(*program.tensors, *more)))


def of_constants(order):
    """Two constants of equal value that stand in this order."""
    build = Builder()
    x = build.input("x", ())
    one, two = build.constant(np.float32(1)), build.constant(np.float32(1))
    build.output("y", build.op("add", build.op("add", x, one), two))
    program = build.program()
    values = tuple(program.constants.values())
    return written(replace(program, constants={(one, two)[n]: values[n] for n in order}))


def of_cell(**attributes):
    build = Builder()
    operands = [build.input(name, (2,)) for name in "xhc"]
    weights = [build.weights(8, 2), build.weights(8, 2)]
    y, _, _ = build.op("lstm", *operands, *weights)
    build.output("y", y)
    program = build.program()
    return written(replace(program, ops=(replace(program.ops[0], attributes=attributes),)))


def of_sum(*sizes):
    """The sum of two vectors, which claims to be of the second one's size."""
    tensors = (*(Tensor((size,)) for size in sizes), Tensor((sizes[1],)))
    inputs = tuple(Input(name, n, tensors[n].shape) for n, name in enumerate("ab"))
    ops = (Op("add", (0, 1), (2,)),)
    return written(Program(inputs, (Output("y", 2),), (), tensors, {}, ops))


def of_plane(padding, strides=(2**14, 2**14)):
    """A convolution of a single value and padding."""
    tensors = (Tensor((1, 1, 1)), Tensor((1, 1, 1, 1)), Tensor((1, 1, 1)))
    given = {"strides": strides, "dilations": (1, 1), "groups": 1, "pad_begin": (0, 0)}
    ops = (Op("conv2d", (0, 1), (2,), {**given, "pad_end": padding}),)
    weights = {1: np.ones((1, 1, 1, 1), np.float32)}
    ends = (Input("x", 0, (1, 1, 1)),), (Output("y", 2),)
    return written(Program(*ends, (), tensors, weights, ops))


INFINITY = float("inf")
FACE = "\N{GRINNING FACE}"
EDGES = {
    # name: (a file, whether it is a model)
    "as it is": (written(register()), True),
    "its own checksum": (written(register())[:-1] + b"\0", False),
    "a byte more": (sealed(written(register())[:-32] + b"\0"), False),
    "a block more": (sealed(written(register())[:-32] + bytes(64)), False),
    "an array that is nobody's": (
        rewritten(written(register()), nothing, arrays=lambda blob: blob + bytes(64)),
        False,
    ),
    "padding behind an array": (patched(-1, 1), False),
    "padding behind the text": (
        patched(-129, 1),
        False,
    ),
    "text that is nobody's": (
        rewritten(written(register()), nothing, lambda text: text + b"!"),
        False,
    ),
    "a word too much": (rewritten(written(register()), lambda words: words.append(0)), False),
    "no note": (noted(b""), False),  # an empty string is 0, 0
    "a note with an umlaut": (noted("ü".encode()), True),
    "half a character": (noted("ü".encode()[:1]), False),
    "the end of a character": (noted(b"\x80"), False),
    "a NUL": (noted(b"a\0b"), False),
    "a character in a longer form": (noted(b"\xc1\x81"), False),
    "another one": (noted(b"\xe0\x9f\xbf"), False),
    "and one of four bytes": (noted(b"\xf0\x8f\xbf\xbf"), False),
    "the first of three bytes": (noted("\u0800".encode()), True),
    "half a surrogate pair": (noted(b"\xed\xa0\x80"), False),
    "the last before surrogates": (noted("\ud7ff".encode()), True),
    "the first behind surrogates": (noted("\ue000".encode()), True),
    "the last character": (noted("\U0010ffff".encode()), True),
    "one beyond the last": (noted(b"\xf4\x90\x80\x80"), False),
    "five bytes": (noted(b"\xf8\x88\x80\x80\x80"), False),
    "a long note": (noted(FACE.encode() * 2**16), True),
    "a longer note": (noted(FACE.encode() * 2**16 + b"!"), False),
    "one of one byte each": (noted(b"a" * (2**16 + 1)), False),
    "a text that is there twice": (resealed(twice_the_same_text()), False),
    "a long name": (with_input(FACE * 2**12), True),
    "a longer name": (with_input(FACE * 2**12 + "!"), False),
    "a name that leaves room for its history": (with_input("x" * (2**12 - 8), history=1), True),
    "a name without room for its history": (with_input("x" * (2**12 - 7), history=1), False),
    "a state called as a history": (with_input("x", name="x.history", history=1), False),
    "a state called as no history": (with_input("x", name="x.history"), True),
    "a state called as a history of nothing": (with_input("x", name=".history", history=1), True),
    "a state called as another's": (with_input("x", name="y.history", history=1), True),
    "an input and an output of one name": (with_input("y"), True),
    "an input without a name": (with_input(""), False),
    "two states of one name": (
        written(replace(register(), states=register().states * 2)),
        False,
    ),
    "two outputs of one name": (
        written(replace(register(), outputs=register().outputs * 2)),
        False,
    ),
    "no output": (written(replace(register(), outputs=())), False),
    "a zero": (of_state(0x80000000), True),
    "a subnormal": (of_state(1), False),
    "a negative subnormal": (of_state(0x807FFFFF), False),
    "the smallest that is normal": (of_state(0x00800000), True),
    "infinity": (of_state(0xFF800000), True),
    "the one NaN": (of_state(0x7FC00000), True),
    "a negative NaN": (of_state(0xFFC00000), False),
    "another NaN": (of_state(0x7F800001), False),
    "all indices": (of_indices(-3, 2, 0), True),
    "an index that is too great": (of_indices(0, 3), False),
    "an index that is too small": (of_indices(-4, 0), False),
    "sizes that broadcast": (of_sum(1, 3), True),
    "a greater size, and a lesser": (of_sum(3, 2), False),
    "a lesser size, and a greater": (of_sum(2, 3), False),
    "as much padding as there may be": (of_plane((2**14 - 1, 2**14 - 1)), True),
    "a line more": (of_plane((2**14, 2**14 - 1), (2**15, 2**14)), False),
    "a stride for one axis": (of_plane((1, 1), (2**14,)), False),
    "a stride for a third axis": (of_plane((1, 1), (2**14,) * 3), False),
    "no stride": (of_plane((0, 0), (1, 0)), False),
    "an infinite parameter": (of_cell(gate="leaky_relu", gate_alpha=INFINITY), False),
    "a second one": (of_cell(input="affine", input_beta=-INFINITY), False),
    "one that the activation has not": (of_cell(gate_alpha=INFINITY, gate_beta=INFINITY), True),
    "a clip of a negative zero": (of_cell(clip=-0.0), True),
    "a negative clip": (of_cell(cell_clip=-1.0), False),
    "an infinite clip": (of_cell(proj_clip=INFINITY), False),
    "no epsilon": (of_cell(layer_norm_eps=0.0), False),
    "an infinite epsilon": (of_cell(layer_norm_eps=INFINITY), False),
    "constants in order": (of_constants((0, 1)), True),
    "constants out of order": (of_constants((1, 0)), False),
    "as many values as there may be": (of_total(2**28), True),
    "a value more": (of_total(2**28 + 1), False),
    "much more": (of_total(2**29), False),
}


@pytest.mark.parametrize("name", EDGES)
def test_edges(parser, name):
    file, is_model = EDGES[name]
    assert (c_parser.expected(file) is not None) is is_model
    assert disagreements(parser, [file]) == ([], int(is_model))


@pytest.mark.parametrize("word", range(2, 16))
def test_what_the_header_says(parser, word):
    """Whatever it claims, it takes no more memory: print_lfm would say so."""
    files = []
    for value in (0, 1, 2, 3, 63, 64, 2**16, 2**16 + 1, 2**24, 2**24 + 1, 2**31, 2**32 - 1):
        body = bytearray(FILES["rich"][: -_lfm.CHECKSUM_BYTES])
        struct.pack_into("<I", body, 4 * word, value)
        files.append(sealed(body))
    assert disagreements(parser, files)[0] == []


def test_an_unknown_version_or_operation_is_told_apart(parser):
    body = bytearray(FILES["chain"][: -_lfm.CHECKSUM_BYTES])
    at = body.index(struct.pack("<3I", 1, 3, 1), 64)  # the first dense
    files = []
    for place, value in ((8, 2), (at, 79), (at, 2**32 - 1), (at + 4, 2**32 - 1)):
        changed = bytearray(body)
        struct.pack_into("<I", changed, place, value)
        files.append(sealed(changed))
    assert printed(parser, files) == [*REFUSED[1:] * 3, REFUSED[0]]


@names
def test_a_file_that_is_cut_short_is_refused(parser, name):
    data = FILES[name]
    cut = [data[:size] for size in (*range(0, 200), *range(200, len(data), 97), len(data) - 1)]
    sound = [sealed(one) for one in cut]
    assert set(printed(parser, [*cut, *sound])) == {REFUSED[0]}


@names
def test_memory_may_run_out(parser, name):
    """Each allocation fails once; and, as a negative control, a file that is refused takes none."""
    assert printed(parser, [FILES[name], FILES[name][:-1]], "memory") == [
        "runs out",
        "does not run out",
    ]


# ---- many files ----


@pytest.mark.parametrize("name", ["chain", "rich"])
def test_damaged_files(parser, name):
    assert 0 < fuzz_c_parser.run(parser, name, 0, 700) < 700


def test_operations_that_are_almost_right(parser):
    assert 1000 < fuzz_c_parser.run(parser, "operations", 0, 2000) < 1800


def test_a_disagreement_is_found(parser, monkeypatch):
    """Negative control: a reader that takes weights which are not finite."""
    monkeypatch.setattr(_program_checks, "FINITE", frozenset())
    with pytest.raises(AssertionError, match=r"--only operations --seed \d+: 19 in C, 0 tensor"):
        fuzz_c_parser.run(parser, "operations", 0, 2000)


def test_a_program_that_fails_is_noticed():
    """Negative control: as one that a sanitizer ends."""
    with pytest.raises(AssertionError):
        printed("false", [])


def test_made_up_files_are_the_same_again():
    assert random_program(7) == random_program(7) != random_program(8)
    assert fuzz_lfm.damaged(FILES["chain"][:-32], 7) == fuzz_lfm.damaged(FILES["chain"][:-32], 7)
