"""`.lfm` files: the same bytes for the same program, and errors only for anything else."""

from __future__ import annotations

import hashlib
import re
import struct
import tracemalloc
from dataclasses import replace
from pathlib import Path

import fuzz_lfm
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from program_cases import PROGRAMS, Builder, frames, named

import lstm_fast
from lstm_fast import FormatError, Model, _lfm
from lstm_fast.operations import OPERATIONS
from lstm_fast.program import Program

MODELS = {name: Model.from_program(make()) for name, make in PROGRAMS.items()}
names = pytest.mark.parametrize("name", PROGRAMS)
NUMBERS = (*range(5), 7, 8, 63, 64, 65, 255, 2**16, 2**16 + 1, 2**28, 2**31, 2**32 - 2, 2**32 - 1)


def sealed(body):
    return bytes(body) + hashlib.sha256(body).digest()


@names
def test_a_file_is_the_model(name, tmp_path):
    model, path = MODELS[name], tmp_path / "model.lfm"
    model.save(path)
    again = lstm_fast.load_model(path)
    assert again.to_bytes() == model.to_bytes() == path.read_bytes()
    assert again.fingerprint == model.fingerprint == path.read_bytes()[-32:].hex()
    assert again.notes == model.notes
    xs = frames(name, 5)
    expected = named(model, model.stream().run(xs))
    for key, value in named(again, again.stream().run(xs)).items():
        assert value.tobytes() == expected[key].tobytes()


@given(seed=st.integers(0, 2**32 - 1))
def test_a_round_trip_gives_equal_bytes(seed):
    for make in PROGRAMS.values():
        model = Model.from_program(make(seed))
        assert Model.from_bytes(model.to_bytes()).to_bytes() == model.to_bytes()


def test_the_same_program_has_the_same_bytes():
    """What is left out, and how arrays lie in memory, makes no difference; any value does."""
    program = PROGRAMS["chain"]()
    constants = {n: np.asfortranarray(v.astype(float)) for n, v in program.constants.items()}
    turned = dict(reversed(constants.items()))
    ops = [
        replace(op, inputs=(*op.inputs, -1)[: 10 if op.code == "lstm" else 3]) for op in program.ops
    ]
    ops = [
        op if op.code in ("lstm", "dense") else old
        for op, old in zip(ops, program.ops, strict=True)
    ]
    same = Model.from_program(replace(program, constants=turned, ops=tuple(ops)))
    assert same.fingerprint == MODELS["chain"].fingerprint
    number, value = next(iter(program.constants.items()))
    other = np.nextafter(value, np.float32(9))
    changed = Model.from_program(replace(program, constants={**program.constants, number: other}))
    assert changed.fingerprint != same.fingerprint


def test_the_bytes_are_those_of_the_page():
    """As docs/lfm.md has them, read here without our reader."""
    build = Builder()
    x = build.input("x", (2,))
    weight = build.constant(np.array([[1, 2], [3, 4], [5, 6]], np.float32))
    build.output("y", build.op("leaky_relu", build.op("dense", x, weight), alpha=0.5))
    data = Model.from_program(build.program("hi")).to_bytes()
    assert data[:8] == b"\x89LFM\r\n\x1a\n"
    header = struct.unpack_from("<14I", data, 8)
    assert header[:8] == (1, 4, 1, 1, 0, 1, 2, 1)
    words, text = header[8], header[9]
    assert header[10:] == (64, 0, 0, 0)
    found = struct.unpack_from(f"<{words}I", data, 64)
    expected = [
        *(0, 1, 2),  # tensor 0: float32, one axis of 2
        *(0, 2, 3, 2),
        *(0, 1, 3),
        *(0, 1, 3),
        *(0, 1, 0, 0, 1, 2),  # input "x" is tensor 0, has no history, is of shape (2,)
        *(1, 1, 3),  # output "y" is tensor 3
        *(1, 0),  # constant 1 is at the blob's first byte
        *(1, 2, 1, 2, 8, 0, 1, 2),  # dense with two inputs: tensor 0, tensor 1; makes tensor 2
        *(26, 1, 1, 10, 13, 2, 3, 0x3F000000),  # leaky_relu, alpha 0.5
        *(23, 2),  # the note
    ]
    assert list(found) == expected
    strings = data[64 + 4 * words :][:text]
    assert strings == b"xy/dense/0/leaky_relu/1hi"
    begin = -(-(64 + 4 * words + text) // 64) * 64
    assert struct.unpack_from("<6f", data, begin) == (1, 2, 3, 4, 5, 6)
    assert len(data) == begin + 64 + 32
    assert data[-32:] == hashlib.sha256(data[:-32]).digest()


def test_a_file_of_the_first_version_is_still_read():
    """Written by this format's first reader and writer, of `rich(0)`; never to be made again."""
    golden = Path(__file__).parents[1] / "golden/rich_1.lfm"
    model = lstm_fast.load_model(golden)
    assert model.fingerprint == "a1ccbb7a60da05b1c320769780fd226b58d8f6b14f397dd03a76ea42612c597f"
    assert Model.from_program(model.program).to_bytes() == golden.read_bytes()
    assert list(model.states) == ["g.h", "p.h", "p.c", "count", "audio.history"]
    frame = {"audio": np.ones((2, 8)), "token": -1}
    score = model.stream().step(frame)["score"]
    np.testing.assert_allclose(
        score, [0.2449423372745514, 0.43979087471961975, 0.37807515263557434], rtol=2**-22
    )


# ---- damaged files ----


@names
def test_a_file_that_is_cut_short_is_refused(name):
    data = MODELS[name].to_bytes()
    for size in [*range(0, 200), *range(200, len(data), 97), len(data) - 1]:
        with pytest.raises(FormatError):
            Model.from_bytes(data[:size])
        if size > 96:
            with pytest.raises(FormatError):
                Model.from_bytes(sealed(data[:size]))
    with pytest.raises(FormatError, match="checksum"):
        Model.from_bytes(data + b"\0")


@names
@given(data=st.data())
def test_a_changed_byte_is_noticed(name, data):
    body = bytearray(MODELS[name].to_bytes())
    at = data.draw(st.integers(0, len(body) - 1))
    body[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(FormatError):
        Model.from_bytes(bytes(body))


def read_mutated(body):
    """Read what someone wrote on purpose, with a checksum that fits: a model or a FormatError."""
    data = sealed(body)
    try:
        model = Model.from_bytes(data)
    except FormatError:
        return False
    assert Model.from_program(model.program).to_bytes() == data  # there is one form of a program
    return True


@names
@settings(max_examples=400)
@given(data=st.data())
def test_mutated_words_give_errors_or_another_model(name, data):
    """Words of the header and the records, with numbers that are likely to hurt."""
    body = bytearray(MODELS[name].to_bytes()[:-32])
    (words,) = struct.unpack_from("<I", body, 40)
    for _ in range(data.draw(st.integers(1, 3))):
        at = 4 * data.draw(st.integers(2, 15 + words))
        old = struct.unpack_from("<I", body, at)[0]
        near = st.sampled_from((old + 1, max(old, 1) - 1, old ^ 2**31))
        value = data.draw(near | st.sampled_from(NUMBERS) | st.integers(0, 2**32 - 1))
        struct.pack_into("<I", body, at, value % 2**32)
    read_mutated(body)


@names
@given(data=st.data())
def test_mutated_bytes_give_errors_or_another_model(name, data):
    """Bytes anywhere: text and arrays too; pieces cut out and doubled."""
    body = bytearray(MODELS[name].to_bytes()[:-32])
    at = data.draw(st.integers(8, len(body) - 1))
    size = data.draw(st.sampled_from((1, 4, 64)))
    how = data.draw(st.sampled_from(("set", "drop", "double")))
    if how == "set":
        body[at : at + size] = data.draw(st.binary(min_size=size, max_size=size))
    elif how == "drop":
        del body[at : at + size]
    else:
        body[at:at] = body[at : at + size]
    read_mutated(body)


def test_mutations_reach_both_ends():
    """Negative control: some mutations are read, as another model, and some are refused."""
    body = bytearray(MODELS["chain"].to_bytes()[:-32])
    body[-64] ^= 1  # the first byte of the last array
    assert read_mutated(body)
    struct.pack_into("<I", body, 64, 3)  # the kind of the first tensor
    assert not read_mutated(body)


def test_padding_is_zeros():
    """And nothing else that has no meaning can carry a message, or another fingerprint."""
    body = bytearray(MODELS["chain"].to_bytes()[:-32])
    for at in (
        len(body) - 1,
        body.index(b"\0" * 8, 64 + 4 * struct.unpack_from("<I", body, 40)[0]),
    ):
        changed = bytearray(body)
        changed[at] = 1
        with pytest.raises(FormatError, match=r"it is not written as .lfm files are"):
            Model.from_bytes(sealed(changed))


# A word of the header, what it is set to, and what is said.
CLAIMS = [
    (2, 2, "version 2, this lstm_fast reads 1"),
    (3, 2**16 + 1, "claims more"),
    (9, 2**16 + 1, "claims more"),
    (10, 2**32 - 1, "claims more"),
    (11, 2**32 - 1, "its length is not"),
    (12, 2**32 - 1, "its length is not"),
    (13, 2**32 - 1, "its length is not"),
    (14, 1, "claims more"),
    (8, 2**16, "end too early|not where it should be|takes|would take|it has"),
]


@pytest.mark.parametrize(("word", "value", "text"), CLAIMS)
def test_what_a_header_claims_takes_no_memory(word, value, text):
    body = bytearray(MODELS["chain"].to_bytes()[:-32])
    struct.pack_into("<I", body, 4 * word, value)
    data = sealed(body)
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match=text):
            Model.from_bytes(data)
        assert tracemalloc.get_traced_memory()[1] < 20 * len(data) + 2**20
    finally:
        tracemalloc.stop()


def lfm_of(tensors, words, text, counts, arrays=b""):
    """A file with a checksum that fits, of records that nothing has checked."""
    header = [1, tensors, *counts, len(words), len(text), len(arrays), 0, 0, 0]
    body = _lfm.MAGIC + struct.pack(f"<{14 + len(words)}I", *header, *words) + text
    return sealed(body.ljust(-(-len(body) // 64) * 64, b"\0") + arrays)


def many_texts(size, *, notes=0, ops=0):
    """Notes or operations that all refer to one text of so many characters of four bytes."""
    text = "\N{GRINNING FACE}".encode() * size
    words = [0, 0] * (1 + ops)  # scalars
    words += [0, 0, 0, 0, 0, 0]  # an input without a name; it gets one of the text
    words[-6:] = [0, 4, 0, 0, 0]
    words += [0, 4, ops]  # the output
    for n in range(ops):
        words += [10, 1, 1, 4, len(text) - 4, n, n + 1]  # relu
    words += [4, len(text) - 4] * notes
    return lfm_of(1 + ops, words, text, [1, 1, 0, 0, ops, notes])


@pytest.mark.parametrize(
    ("size", "many"), [(25_000, {"notes": 5000}), (4000, {"ops": 4000}), (60_000, {"notes": 1})]
)
def test_one_text_is_kept_once(size, many):
    """However many records refer to it: each note of 5000 would take 100 kB."""
    data = many_texts(size, **many)
    tracemalloc.start()
    try:
        model = Model.from_bytes(data)
        assert tracemalloc.get_traced_memory()[1] < 30 * len(data) + 2**20
    finally:
        tracemalloc.stop()
    assert len(model.notes) == many.get("notes", 0)
    assert len({id(note) for note in model.notes}) <= 1
    assert Model.from_program(model.program).to_bytes() == data


@pytest.mark.parametrize(("many", "limit"), [({"notes": 2}, 2**16), ({"ops": 2}, 2**12)])
def test_a_text_that_is_too_long_is_never_decoded(many, limit):
    data = many_texts(2**20, **many)
    tracemalloc.start()
    try:
        with pytest.raises(FormatError, match=f"longer than {limit} characters"):
            Model.from_bytes(data)
        assert tracemalloc.get_traced_memory()[1] < len(data) + 2**20  # the text, as bytes
    finally:
        tracemalloc.stop()


def test_huge_shapes_are_refused_before_anything_multiplies():
    """A tensor that claims thousands of huge axes."""
    axes = 2**15
    words = [0, axes, *[2**32 - 1] * axes]
    header = [1, 1, 1, 1, 0, 0, 0, 0, len(words), 0, 0, 0, 0, 0]
    body = _lfm.MAGIC + struct.pack(f"<{14 + len(words)}I", *header, *words)
    body = body.ljust(-(-len(body) // 64) * 64, b"\0")
    with pytest.raises(FormatError, match=f"{axes} axes") as caught:
        Model.from_bytes(sealed(body))
    assert len(str(caught.value)) < 500


def test_strings_and_arrays_cannot_be_counted_twice():
    """Else a short file could name a long text, or a large array, thousands of times."""
    data = MODELS["rich"].to_bytes()[:-32]
    (words,) = struct.unpack_from("<I", data, 40)
    records = list(struct.unpack_from(f"<{words}I", data, 64))
    for text, change in (("a text is not where", (0, 1)), ("an array is not where", (None, 0))):
        found = 0
        for at in range(words - 1):
            body = bytearray(data)
            for offset, value in enumerate(change):
                if value is not None:
                    struct.pack_into("<I", body, 64 + 4 * (at + offset), value)
            if body == data:
                continue
            try:
                Model.from_bytes(sealed(body))
            except FormatError as error:
                found += text in str(error)
        assert found > 3, text
    assert len(records) == words


@names
def test_every_unknown_operation_is_refused(name):
    body = bytearray(MODELS[name].to_bytes()[:-32])
    (words,) = struct.unpack_from("<I", body, 40)
    first = MODELS[name].program.ops[0]
    code = {"dense": 1, "embedding": 73}[first.code]
    pattern = struct.pack("<3I", code, len(first.inputs), len(first.outputs))
    at = body.index(pattern, 64)
    assert at < 64 + 4 * words
    for number in (0, 9, 39, 79, 2**32 - 1):
        struct.pack_into("<I", body, at, number)
        with pytest.raises(FormatError, match=f"an operation {number}, which this"):
            Model.from_bytes(sealed(body))


def test_options_are_not_for_files_that_are_ready(tmp_path):
    path = tmp_path / "model.lfm"
    MODELS["chain"].save(path)
    with pytest.raises(ValueError, match=r"a .lfm file is ready as it is, and takes no history"):
        lstm_fast.load_model(path, history={"x": 1})
    path.write_bytes(b"nothing")
    with pytest.raises(FormatError, match=r"model.lfm: it does not begin as a .lfm file does"):
        lstm_fast.load_model(path)
    renamed = tmp_path / "model.bin"
    MODELS["chain"].save(renamed)
    assert lstm_fast.load_model(renamed).fingerprint == MODELS["chain"].fingerprint


def test_an_empty_program_is_none():
    with pytest.raises(FormatError, match="no input"):
        Model.from_program(Program((), (), (), (), {}, ()))


def row_of(operation):
    """An operation as docs/lfm.md has it."""
    inputs = ", ".join(name.strip("=") for name in operation.inputs).replace("*", "one or more")
    attributes = ", ".join(f"{name} {one.type}" for name, one in operation.attributes.items())
    cells = (operation.number, f"`{operation.code}`", inputs, operation.outputs, attributes)
    return "| " + " | ".join(map(str, cells)) + " |"


def test_the_page_has_every_operation():
    page = (Path(__file__).parents[2] / "docs/lfm.md").read_text("utf-8")
    lines = page.splitlines()
    assert [row_of(one) for one in OPERATIONS.values() if row_of(one) not in lines] == []
    numbered = [line for line in lines if re.match(r"\| \d+ \| `", line)]
    assert len(numbered) == len(OPERATIONS)
    computes = [f"| `{one.code}` | {one.computes} |" for one in OPERATIONS.values()]
    assert [line for line in computes if line.replace("|x|", r"\|x\|") not in lines] == []
    choices = {one.choices for row in OPERATIONS.values() for one in row.attributes.values()}
    named_rows = {tuple(line.split(" | ")[-1].strip(" |").split(", ")) for line in lines}
    assert choices - {()} - named_rows == set()


def test_some_of_the_fuzzer(monkeypatch):
    """With a negative control: some of its files are models, and a loader that fails is found."""
    assert 0 < fuzz_lfm.run(300) < 300
    monkeypatch.setattr(_lfm, "_parse", {}.__getitem__)  # raises a KeyError
    with pytest.raises(AssertionError, match=r"--only chain --seed \d"):
        fuzz_lfm.run(9)
