"""Pickles made by hand: what each opcode makes, and that hostile ones end soon, with little memory.

None of these tests needs PyTorch.
"""

from __future__ import annotations

import collections
import io
import pickle
import pickletools
import random
import struct
import subprocess
import sys

import limits
import pytest

from lstm_fast import FormatError
from lstm_fast._budget import Budget
from lstm_fast.formats import pytorch
from lstm_fast.formats.pytorch._pickle_machine import Machine
from lstm_fast.formats.pytorch._pickle_opcodes import OPCODES
from lstm_fast.formats.pytorch._pickle_values import (
    Dict,
    Global,
    Object,
    PickleError,
    contents,
    described,
    parts,
)

NAME = b"ca\nb\n"  # a global


def unpickled(data):
    budget = Budget("a pickle", 10 * len(data))
    return Machine(io.BytesIO(data), len(data), budget, lambda pid: ("pid", pid)).load()


def plain(value):
    """Return what Python's own unpickler would have made, where that is plain."""
    if isinstance(value, Dict):
        return {plain(k): plain(v) for k, v in zip(value[::2], value[1::2], strict=True)}
    if isinstance(value, (list, tuple)):
        return type(value)(map(plain, value))
    return value


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


# ---- what is made --------------------------------------------------------------------------------

VALUES = [
    None, True, False, 0, 1, 255, 256, 65535, 65536, -1, -(2**31), 2**31, 2**63, -(2**200), 2**255,
    0.0, -1.5, 1e300, float("inf"), "", "abc", "é€😀", "line\nbreak\\u0041", "x" * 300,
    b"", b"\xff\0", b"y" * 300, bytearray(b"ab"),
    [], [1, [2, [3]]], (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4),
    {}, {"a": 1, 3: "b", "c": {"d": [()]}}, [None] * 2500, {str(n): n for n in range(2500)},
]  # fmt: skip


@pytest.mark.parametrize("protocol", range(6))
def test_plain_values_are_pythons_own(protocol):
    for value in VALUES:
        data = pickle.dumps(value, protocol)
        found = unpickled(data)
        if isinstance(value, (bytes, bytearray)) and isinstance(found, Object):
            found = contents(found.args[0] if found.name.endswith("bytearray") else found)
            found = b"" if found is None else found  # bytes() without arguments
        assert plain(found) == (bytes(value) if isinstance(value, bytearray) else value)
    assert unpickled(b"S'a\\n\\x41\\'\\\\'\n.") == "a\nA'\\"
    assert unpickled(b"T\x02\0\0\0\xff\x80.") == "\xff\x80"


def test_every_opcode_is_known():
    known = {opcode.code.encode("latin-1") for opcode in pickletools.opcodes}
    assert known - OPCODES.keys() == {b"."}
    assert OPCODES.keys() <= known


def test_sets_are_lists():
    for protocol in range(4, 6):
        found = unpickled(pickle.dumps([{3}, frozenset({4})], protocol))
        assert found == [[3], [4]]
    made = unpickled(pickle.dumps({3}, 2))
    assert (made.name, made.args) == ("__builtin__.set", ([3],))


def test_objects_remember_and_do_nothing():
    made = unpickled(pickle.dumps(collections.deque([1, 2], 3), 2))
    assert (made.name, made.elements) == ("collections.deque", [1, 2])
    made = unpickled(pickle.dumps(collections.OrderedDict(a=1), 2))
    assert (made.name, made.items) == ("collections.OrderedDict", ["a", 1])
    for data in (NAME + b")R}b.", b"(ia\nb\n}b.", b"(" + NAME + b"o}b.", NAME + b")}\x92}b."):
        made = unpickled(data)
        assert (made.name, made.args, made.state) == ("a.b", (), [])
    made = unpickled(b"ccopy_reg\n_reconstructor\n(" + NAME + b"c__builtin__\nobject\nNtR.")
    assert made.name == "a.b"
    assert unpickled(b"\x82\x05.").name == "extension 5"
    assert unpickled(b"K\x05Q.") == ("pid", 5)
    assert unpickled(b"Pabc\n.") == ("pid", "abc")


def test_several_pickles_in_one_file():
    machine = Machine(io.BytesIO(b"K\x01.]q\x00.K\x02."), 10, Budget("it", 10), str)
    assert [machine.load() for _ in range(3)] == [1, [], 2]
    with pytest.raises(PickleError, match="cut short"):
        machine.load()
    machine = Machine(io.BytesIO(b"]q\x00.h\x00."), 6, Budget("it", 6), str)
    assert machine.load() == []
    with pytest.raises(PickleError, match="has not kept"):  # what one keeps is not the next one's
        machine.load()


# ---- what is refused -----------------------------------------------------------------------------

DAMAGED = {
    b"": "cut short", b"N": "cut short", b"\x80": "cut short", b"\x80\x06N.": "protocol 6",
    b"\xff.": "no opcode", b".": "nothing on the stack", b"0.": "nothing on the stack",
    b"1": "nothing", b"2": "nothing", b"q\x00": "nothing", b"\x85": "nothing", b"N\x86": "nothing",
    b"t": "nothing", b"R": "nothing", b"NR": "nothing", b"(o": "nothing", b"}a": "nothing",
    b"h\x05": "has not kept", b"g5\n": "has not kept", b"j\xff\xff\xff\xff": "has not kept",
    b"Np-1\n": "under the number -1", b"Npx\n": "not a whole number", b"Ix\n": "not a whole number",
    b"Fx\n": "a number in it is none", b"Sabc\n": "no quotes", b"S'\n": "no quotes",
    b"X\x02\0\0\0\xff\xff": "not text", b"C\x05abc": "cut short", b"Kx\xff": "no opcode",
    b"\x8e" + b"\xff" * 8: "more than there are", b"\x96" + b"\xff" * 7 + b"\0": "more than there",
    b"\x8b\xff\xff\xff\x7f": "more than there are", b"X\xff\xff\xff\xff": "more than there are",
    b"\x95" + b"\xff" * 8: "a frame claims", b"\x97": "outside of it", b"\x98": "outside of it",
    b"(K\x01d": "no value", b"}(K\x01u": "no value", b"K\x01K\x01a": "not a list",
    b"}K\x01a": "not a list", b"]K\x01K\x02s": "not a dict", b"NN\x93": "not a string",
    NAME + b"NR": "not a tuple", NAME + b"]\x81": "not a tuple", b"c" + b"a" * 5000: "too long",
    b"ca\n" + b"b" * 5000 + b"\n": "too long", b"I" + b"9" * 5000 + b"\n": "too long",
    text("a" * 3000) * 2 + b"\x93": "too long", b"N(.": "nothing on the stack",
}  # fmt: skip


@pytest.mark.parametrize("data", DAMAGED)
def test_damaged_pickles_are_refused(data, tmp_path):
    with pytest.raises(PickleError, match=DAMAGED[data]):
        unpickled(data)
    path = tmp_path / "a.pkl"
    path.write_bytes(data)
    with pytest.raises(FormatError, match=DAMAGED[data]) as caught:
        pytorch.read(path)
    assert "\n" not in str(caught.value)


def test_random_programs_are_refused_or_read():
    """Any order of opcodes, each with an argument of its size: nothing but our own error."""
    rng = random.Random(5)
    sizes = {b"K": 1, b"M": 2, b"J": 4, b"G": 8, b"h": 1, b"q": 1, b"\x8c": 1, b"C": 1, b"U": 1}
    codes = sorted(OPCODES)
    refused = 0
    for _ in range(20_000):
        data = b"".join(
            code + rng.randbytes(sizes.get(code, 0)) if code not in (b"q", b"h")
            else code + bytes([rng.randrange(3)])
            for code in rng.choices([b"N", b"(", b"}", b"]", b")", NAME, b"q", b"h", *codes], k=12)
        )  # fmt: skip
        try:
            list(parts(unpickled(data + b".")))
        except PickleError:
            refused += 1
    assert 10_000 < refused < 20_000


# ---- hostile -------------------------------------------------------------------------------------


def doubled(empty: bytes, join: bytes, count: int) -> bytes:
    """Return a pickle in which each of many values holds the one before it twice."""
    made = empty + b"q\x00"
    for n in range(count):
        made += b"0" + join.replace(b"?", b"h" + bytes([n])) + b"q" + bytes([n + 1])
    return made


KEY = doubled(b")", b"??\x86", 100)  # a tuple whose hash takes 2 to the power of 100 steps
COLLIDING = b"".join(
    b"\x8a\x10" + (n * (2**61 - 1)).to_bytes(16, "little") + b"N" for n in range(20_000)
)
MANY = b"}q\x00(" + b"".join(text(f"{n:x}") + b"K\x01" for n in range(20_000)) + b"u0"


def module(parameters=b"}", others=b"") -> bytes:
    """Return a module pickled whole, with these opcodes for its parameters."""
    state = text("_parameters") + parameters + text("_modules") + b"}" + others
    return NAME + b")R}(" + state + b"ub"


def often(value: bytes, count: int = 20_000) -> bytes:
    return b"](" + value * count + b"e"


def inner_file() -> bytes:
    """Return opcodes of a legacy file with one storage, that takes long, kept as text."""
    known = (
        b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + b"K\x01Nt"
    )
    head = b"".join(pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, {}))
    data = head + b"\x80\x02" + b"N0" * 50_000 + known + b"Q.\x80\x02]" + text("0") + b"a."
    return text((data + struct.pack("<qf", 1, 1)).decode("latin-1"))


NESTED = (
    b"ctorch._utils\n_rebuild_tensor_v2\nq\x000ctorch.storage\n_load_from_bytes\nq\x010"
    b"c_codecs\nencode\nq\x020" + inner_file() + b"q\x030"
)
NESTED_TENSOR = b"h\x00(h\x01h\x02h\x03\x85R\x85RK\x00K\x01\x85K\x01\x85\x89}tR"
LONG_KEY = (
    text("k" * 1_000_000) + b"q\x000ctorch\nFloatStorage\nq\x010" + text("storage") + b"q\x020"
)
DEEP_MODULES = (
    text("k" * 4000) + b"q\x000"
    + (NAME + b")R}(" + text("_parameters") + b"}" + text("_modules") + b"}(h\x00") * 60
    + module() + b"uub" * 60
)  # fmt: skip
HOSTILE = {
    "a dict that many objects share": MANY + often(NAME + b"h\x00\x85R"),
    "a state that many objects share": MANY + often(NAME + b")Rh\x00b"),
    "parameters that many modules share": MANY + often(module(b"h\x00")),
    "a large module, often": MANY + module(b"h\x00") + b"q\x010" + often(b"h\x01"),
    "names left out that many modules share": MANY
    + often(module(others=text("_non_persistent_buffers_set") + b"h\x00")),
    "bytes as a tag, often": b"B" + struct.pack("<I", 1_000_000) + b"k" * 1_000_000 + b"q\x000"
    + often(b"h\x00K\x01\x86Q", 100_000),
    "a key that hashes for ever": b"}(" + KEY + b"K\x01u",
    "an element of a set that hashes for ever": b"\x8f(" + KEY + b"\x90",
    "a frozen set of it": b"(" + KEY + b"\x91",
    "whole numbers of one hash": b"}(" + COLLIDING + b"u",
    "lists within lists": doubled(b"]", b"](??e", 200),
    "dicts within dicts": doubled(b"}", b"}(K\x01?K\x02?u", 200),
    "tuples within tuples": doubled(b")", b"??\x86", 200),
    "objects within objects": doubled(b"]", NAME + b"(??tR", 200),
    "states within states": doubled(b"}", NAME + b")R}(K\x01?K\x02?ub", 200),
    "modules within modules": doubled(
        NAME + b")R",
        NAME + b")R}(" + text("_parameters") + b"}" + text("_modules") + b"}(K\x01?K\x02?uub",
        200,
    ),
    "a list in itself": b"]q\x00h\x00a",
    "a dict in itself": b"}q\x00(K\x01h\x00u",
    "a state in itself": NAME + b")Rq\x00h\x00b",
    "a list in itself, often": b"]q\x00(" + b"h\x00" * 100_000 + b"e",
    "a long list, often": b"](]q\x00(" + b"N" * 50_000 + b"e" + b"h\x00" * 50_000 + b"e",
    "deep lists": b"]" * 200_000 + b"a" * 199_999,
    "deep tuples": b")" + b"\x85" * 300_000,
    "deep dicts": b"}" + b"K\x01}" * 100_000 + b"s" * 100_000,
    "deep objects": NAME + b"q\x000" + b"h\x00" * 100_000 + b")" + b"R\x85" * 100_000,
    "deep states": (NAME + b")R") * 50_000 + b"b" * 49_999,
    "a long key, often": b"}" + text("a" * 200_000) + b"q\x000" + b"h\x00Ns" * 50_000,
    "equal long keys": b"}" + text("a" * 200_000) + b"q\x000" + text("a" * 200_000) + b"q\x010"
    + b"h\x00Nsh\x01Ns" * 30_000,
    "long names of dicts": b"}" + text("a" * 4000) + b"](" + b"}" * 100_000 + b"es",
    "a far place in the memo": b"Nr\xff\xff\xff\xff",
    "duplicates": b"N" + b"2" * 500_000,
    "nothing, often": b"N0" * 300_000 + b"N",
    "long whole numbers": b"\x8b" + struct.pack("<I", 300_000) + b"\x7f" * 300_000,
    "long decimal numbers": b"L" + b"9" * 300_000 + b"L\n",
    "one emoji": text("a" * 300_000 + "😀"),
}  # fmt: skip
TOO_LARGE = {
    "dicts": b"}" * 1_000_000,
    "lists": b"]" * 1_500_000,
    "marks": b"(" * 1_000_000,
    "places in the memo": b"N" + b"\x94" * 1_000_000,
}


def read_in_a_child(path):
    """Return what the reader said, within what it may take."""
    taken = limits.taken_by(path, "pytorch")
    assert taken.is_within, taken
    return taken.text.partition(": ")[2][:80]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pickles_end_soon(name, tmp_path):
    """They hold no LSTM; to say that takes neither long nor much memory, and no signal ends it."""
    path = tmp_path / "a.pkl"
    path.write_bytes(HOSTILE[name] + b".")
    said = read_in_a_child(path)
    assert said.startswith(("there is no LSTM in it", "looking for tensors in it"))


def test_a_storage_within_bytes_is_read_once(tmp_path):
    path = tmp_path / "a.pkl"
    path.write_bytes(NESTED + often(NESTED_TENSOR, 2_000) + b".")
    said = read_in_a_child(path)
    assert said.startswith("there is no LSTM in it (no weight_ih_l0")


def test_the_key_of_a_storage_is_short(tmp_path):
    """Each storage has a name of its own made of it."""
    path = tmp_path / "a.pkl"
    path.write_bytes(b"\x80\x02" + LONG_KEY + often(b"(h\x02h\x01h\x00NK\x01tQ") + b".")
    said = read_in_a_child(path)
    assert said == "damaged: what it says of a storage makes no sense"


def test_prefixes_of_modules_count_as_names(tmp_path):
    path = tmp_path / "a.pkl"
    leaves = b"".join(text(f"{n}") + module() for n in range(30_000))
    path.write_bytes(
        DEEP_MODULES.replace(module(), module().replace(b"}ub", b"}(" + leaves + b"uub")) + b"."
    )
    said = read_in_a_child(path)
    assert " would take " in said


@pytest.mark.parametrize("name", TOO_LARGE)
def test_bombs_are_refused_before_they_take_memory(name, tmp_path):
    with pytest.raises(FormatError, match="more than the"):
        unpickled(TOO_LARGE[name])
    path = tmp_path / "a.pkl"
    path.write_bytes(TOO_LARGE[name] + b".")
    said = read_in_a_child(path)
    assert "the pickle in it would take" in said


def test_a_small_file_makes_python_hash_for_ever(tmp_path):
    """The negative control: what reads the file with Python's unpickler does not end."""
    data = HOSTILE["a key that hashes for ever"] + b"."
    assert len(data) < 969
    path = tmp_path / "a.pkl"
    path.write_bytes(data)
    code = (
        "import resource, pickle, sys\n"
        "resource.setrlimit(resource.RLIMIT_CPU, (2, 2))\n"
        "pickle.load(open(sys.argv[1], 'rb'))\n"
    )
    run = subprocess.run([sys.executable, "-c", code, path], capture_output=True, check=False)
    assert run.returncode < 0


def test_what_a_value_is_in_words():
    assert described(unpickled(HOSTILE["a dict in itself"] + b".")) == "a dict of 1 with '1'"
    assert described(unpickled(b"}(" + KEY + b"K\x01u.")) == "a dict of 1"
    assert described(Global("a.b")) == "the name a.b"
    assert described(Object("a\nb")) == "an object of a\\nb"
    assert described([1]) == "a list of 1"


def test_a_vocabulary_costs_little():
    """A hundred thousand words beside small weights are no bomb."""
    for protocol in range(6):
        data = pickle.dumps({f"word{n}": n for n in range(100_000)}, protocol)
        with pytest.raises(FormatError, match="there is no LSTM in it"):
            pytorch.read(data)
