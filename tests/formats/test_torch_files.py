"""The containers and tensors of PyTorch's files, made by hand: no test here needs PyTorch."""

from __future__ import annotations

import io
import struct
import zipfile

import numpy as np
import pytest
from handmade import (
    SHAPES,
    UNITS,
    Call,
    Name,
    arrays,
    dumped,
    state_dict,
    storage,
    strides,
    tensor,
    values,
    write_legacy,
    write_zip,
)

from lstm_fast import FormatError
from lstm_fast.formats import pytorch
from lstm_fast.formats import read as read_any

RIGHT = arrays()


def is_right(path):
    (found,) = pytorch.read(path)
    weights = found.weights.state_dict()
    return weights.keys() == RIGHT.keys() and all(
        np.array_equal(weights[name], RIGHT[name]) for name in RIGHT
    )


def counted(storages):
    return {key: (len(data) // 4, data) for key, data in storages.items()}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.pt"


# ---- containers ----------------------------------------------------------------------------------


def test_orders_of_bytes(path):
    assert is_right(write_zip(path, state_dict(), values()))
    assert is_right(write_zip(path, state_dict(), values(), byteorder=b"little"))
    assert is_right(write_zip(path, state_dict(), values(">f4"), byteorder=b"big"))
    assert not is_right(write_zip(path, state_dict(), values("<f4"), byteorder=b"big"))
    with pytest.raises(FormatError, match="b'middle' is not an order of bytes"):
        pytorch.read(write_zip(path, state_dict(), values(), byteorder=b"middle"))


def test_doubles_and_halves_of_the_other_order(path):
    for kind, dtype in (("DoubleStorage", ">f8"), ("HalfStorage", ">f2")):
        file = write_zip(path, state_dict(kind), values(dtype), byteorder=b"big")
        (found,) = pytorch.read(file)
        expected = RIGHT["weight_hh_l0"].astype(dtype).astype(np.float32)
        assert np.array_equal(found.weights.layers[0].weight_hh, expected)


def test_legacy_files(path):
    assert is_right(write_legacy(path, state_dict(), counted(values())))
    assert read_any(path)
    # On a big-endian machine the counts were written in its order, the values never were.
    assert is_right(write_legacy(path, state_dict(), counted(values()), count_order="big"))
    # Python 2 makes an OrderedDict of pairs, and text of bytes.
    pairs = [[name, value] for name, value in state_dict().items()]
    value = {"net": Call(Name("collections", "OrderedDict"), (pairs,)), "epoch": 3}
    assert is_right(write_legacy(path, value, counted(values()), old=True))


def test_old_legacy_files_have_views_of_storages(path):
    whole = b"".join(values().values())
    weights, offset = {}, 0
    for name, shape in SHAPES.items():
        count = int(np.prod(shape))
        view = (f"view {name}", offset, count)
        weights[name] = tensor(storage("0", len(whole) // 4, "FloatStorage", view), shape)
        offset += count
    assert is_right(write_legacy(path, weights, {"0": (len(whole) // 4, whole)}))
    wrong = tensor(storage("0", 192, "FloatStorage", ("v", 190, 3)), (3,))
    with pytest.raises(FormatError, match="part of a storage makes no sense"):
        pytorch.read(write_legacy(path, {**weights, "weight_ih_l0": wrong}, {}))


def test_legacy_storages_are_compared_with_the_file(path):
    sound = counted(values())
    for wrong, words in (
        ({**sound, "0": (47, sound["0"][1])}, "storage claims 48 values, the file says otherwise"),
        ({**sound, "3": (16, b"")}, "storage claims 16 values, more than there are"),
        ({**sound, "9": (1, bytes(4))}, "nothing refers to"),
        ({key: sound[key] for key in ("0", "1", "2")}, "its values are missing"),
    ):
        with pytest.raises(FormatError, match=words):
            pytorch.read(write_legacy(path, state_dict(), wrong))
    twice = {**state_dict(), "x": tensor(storage("0", 10), (2, 5))}
    with pytest.raises(FormatError, match="two things of the storage 0"):
        pytorch.read(write_legacy(path, twice, sound))


def test_zip_files_as_they_should_not_be(path):
    write_zip(path, state_dict(), values())
    sound = path.read_bytes()
    # a member twice
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("a/data/0", bytes(192))
    with pytest.raises(FormatError, match="two of its members have the same name"):
        pytorch.read(path)
    # an encrypted one: the flag in the list of members
    place = sound.index(b"PK\x01\x02")
    path.write_bytes(sound[: place + 8] + b"\x01" + sound[place + 9 :])
    with pytest.raises(FormatError, match=r"data\.pkl is encrypted"):
        pytorch.read(path)
    # one that claims more than there is
    place = sound.index(b"a/data/0", sound.index(b"PK\x01\x02"))
    sizes = struct.pack("<II", 2**30, 2**30)
    path.write_bytes(sound[: place - 26] + sizes + sound[place - 18 :])
    with pytest.raises(FormatError, match="claim more bytes than the file can hold"):
        pytorch.read(path)
    # one that is elsewhere
    offset = struct.pack("<I", 7)
    path.write_bytes(sound[: place - 4] + offset + sound[place:])
    with pytest.raises(FormatError, match="data/0 is not where it should be"):
        pytorch.read(path)
    # one that is missing
    storages = values()
    del storages["2"]
    with pytest.raises(FormatError, match=r"bias_ih_l0: damaged: there is no a/data/2 in it"):
        pytorch.read(write_zip(path, state_dict(), storages))
    # compressed ones
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", dumped(state_dict()))
    with pytest.raises(FormatError, match="is compressed; PyTorch never does that"):
        pytorch.read(path)


def test_zip64(path):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in {
            "a/data.pkl": dumped(state_dict()),
            **{f"a/data/{key}": data for key, data in values().items()},
        }.items():
            with archive.open(name, "w", force_zip64=True) as member:
                member.write(data)
    assert is_right(path)


# ---- tensors -------------------------------------------------------------------------------------


def rebuilt(name, *args, module="torch._utils"):
    return Call(Name(module, name), args)


def test_the_ways_in_which_tensors_are_rebuilt(path):
    """Each weight goes through all of them in turn."""
    hooks = Call(Name("collections", "OrderedDict"), ())
    for name, shape in SHAPES.items():
        n = str(list(SHAPES).index(name))
        count = int(np.prod(shape))
        held, steps = storage(n, count), strides(shape)
        plain = tensor(held, shape)
        untyped = storage(n, 4 * count, "UntypedStorage")
        array = rebuilt(
            "_frombuffer", RIGHT[name].tobytes(), dtype_of("f4"), shape, "C", module="numpy._core"
        )
        f4 = Name("torch", "float32")
        for way in (
            plain,
            rebuilt("_rebuild_tensor", held, 0, shape, steps),
            rebuilt("_rebuild_tensor_v3", held, 0, shape, steps, False, hooks, f4, {}),
            rebuilt("_rebuild_tensor_v3", untyped, 0, shape, steps, False, hooks, f4, None),
            tensor(held, Call(Name("torch", "Size"), (shape,)), steps),
            tensor(storage(n, count, "FloatStorage"), list(shape), list(steps)),
            rebuilt("_rebuild_parameter", plain, True, hooks),
            rebuilt("_rebuild_parameter_with_state", plain, True, hooks, {"a": 1}),
            rebuilt("Parameter", plain, True, module="torch.nn.parameter"),
            rebuilt(
                "_rebuild_from_type_v2",
                Name("torch._utils", "_rebuild_tensor_v2"),
                Name("my.library", "Tensor"),
                plain.args,
                {},
                module="torch._tensor",
            ),
            rebuilt("_rebuild_device_tensor_from_cpu_tensor", plain, f4, "xla:0", True),
            rebuilt("_rebuild_device_tensor_from_numpy", array, f4, "xla:0", True),
            rebuilt("_rebuild_xla_tensor", array, f4, "xla:0", True),
            array,
        ):
            assert is_right(write_zip(path, {**state_dict(), name: way}, values()))


def dtype_of(code):
    return Call(Name("numpy", "dtype"), (code, False, True))


def test_layouts_are_checked_against_the_storage(path):
    held, huge = storage("1", 64), 2**62
    for way, words in (
        (tensor(held, (16, 4), (4, 1), 1), "reaches beyond its storage"),
        (tensor(held, (16, 4), (5, 1)), "reaches beyond its storage"),
        (tensor(held, (16, 4), (huge, 1)), "reaches beyond its storage"),
        (tensor(held, (16, 4), (4, 1), huge), "reaches beyond its storage"),
        (tensor(held, (16, 4), (-4, 1)), "layout makes no sense"),
        (tensor(held, (16, 4), (4, 1), -1), "layout makes no sense"),
        (tensor(held, (16, 4), (4,)), "layout makes no sense"),
        (tensor(held, (16, True), (4, 1)), "sizes of a tensor make no sense"),
        (tensor(held, (2**70, 4), (4, 1)), "sizes of a tensor make no sense"),
        (tensor(held, (1,) * 65, (1,) * 65), "sizes of a tensor make no sense"),
        (tensor(held, None, (4, 1)), "sizes of a tensor make no sense"),
        (tensor("storage", (16, 4)), "layout makes no sense"),
        (tensor(storage("1", 64, "OtherStorage"), (16, 4)), "a tensor of torch.OtherStorage"),
        (tensor(held, (0, huge), (1, 1)), "too big|expected"),
    ):
        with pytest.raises(FormatError, match=f"weight_hh_l0.*({words})"):
            pytorch.read(write_zip(path, {**state_dict(), "weight_hh_l0": way}, values()))


def test_what_a_persistent_id_says_is_checked(path):
    for pid in (
        ("storage", "FloatStorage", "1", "cpu", 64),
        ("storage", Name("torch", "FloatStorage"), None, "cpu", 64),
        ("storage", Name("torch", "FloatStorage"), "1", "cpu", -1),
        ("storage",),
    ):
        held = storage("1", 64)._replace(pid=pid)
        with pytest.raises(FormatError, match="what it says of a storage makes no sense"):
            pytorch.read(write_zip(path, {"a": tensor(held, (16, 4))}, {}))


def test_views_that_torch_can_make(path):
    """A stretched one, a column, one with a dimension of one value and any stride."""
    weights = state_dict()
    weights["bias_ih_l0"] = tensor(storage("1", 64), (16,), (0,), 5)
    weights["bias_hh_l0"] = tensor(storage("1", 64), (16,), (4,), 3)
    weights["weight_ih_l0"] = tensor(storage("0", 48), (16, 1), (3, 2**40), 2)
    (found,) = pytorch.read(write_zip(path, weights, values()))
    layer, hh = found.weights.layers[0], RIGHT["weight_hh_l0"]
    assert np.array_equal(layer.bias_ih, np.full(4 * UNITS, hh[1, 1]))
    assert np.array_equal(layer.bias_hh, hh[:, 3])
    assert np.array_equal(layer.weight_ih, RIGHT["weight_ih_l0"][:, 2:])


@pytest.mark.parametrize("columns", [2**20, 2**40])
def test_a_stretched_tensor_takes_no_memory(path, columns):
    weights = {**state_dict(), "weight_ih_l0": tensor(storage("0", 48), (16, columns), (0, 0))}
    with pytest.raises(FormatError, match="reading a tensor would take"):
        pytorch.read(write_zip(path, weights, values()))


def test_many_tensors_of_one_storage_are_read_piece_by_piece(path, monkeypatch):
    """Reading it whole for each would take the square of the file's size."""
    count = 0
    held = storage("0", 48)
    weights = {f"{n}.{name}": part for n in range(50) for name, part in state_dict().items()}
    weights |= {f"{n}.bias_ih_l0": tensor(held, (16,), (1,), n % 30) for n in range(50)}
    open_ = type(path).open

    class Counted(io.BufferedReader):
        def read(self, size=-1):
            nonlocal count
            data = super().read(size)
            count += len(data)
            return data

    monkeypatch.setattr(
        type(path), "open", lambda self, mode: Counted(open_(self, mode, buffering=0))
    )
    write_zip(path, weights, {**values(), "0": values()["0"] + bytes(1 << 20)})
    assert len(pytorch.read(path)) == 50
    assert count < 2 * path.stat().st_size + (1 << 19)


def test_storages_within_bytes_are_read_once(path, monkeypatch):
    """Python's own pickle has them so: each is a legacy file."""
    file = io.BytesIO()
    key = "0"
    held = storage(key, 64)

    class Target:
        write_bytes = file.write

    write_legacy(Target, held, {key: (64, RIGHT["weight_hh_l0"].tobytes())})
    inner = Call(Name("torch.storage", "_load_from_bytes"), (file.getvalue(),))
    weights = {**state_dict(), "weight_hh_l0": tensor(inner, (16, 4))}
    assert is_right(write_zip(path, weights, values()))
    inner = Call(Name("torch.storage", "_load_from_bytes"), (file.getvalue()[:-1],))
    weights = {**state_dict(), "weight_hh_l0": tensor(inner, (16, 4))}
    with pytest.raises(FormatError, match=r"weight_hh_l0.*more than there are"):
        pytorch.read(write_zip(path, weights, values()))
    # The same bytes for a thousand tensors are unpickled once.
    from lstm_fast.formats.pytorch import _legacy

    loads = []
    load = _legacy.Legacy.load
    monkeypatch.setattr(_legacy.Legacy, "load", lambda self: loads.append(1) or load(self))
    one = b"\x80\x02B" + struct.pack("<I", len(file.getvalue())) + file.getvalue() + b"q\x000}("
    for n in range(1000):
        call = b"ctorch.storage\n_load_from_bytes\nh\x00\x85RK\x00K\x10\x85K\x01\x85"
        name = f"{n:04}".encode()
        one += b"X\x04\0\0\0" + name + b"ctorch._utils\n_rebuild_tensor\n(" + call + b"tR"
    path.write_bytes(one + b"u.")
    with pytest.raises(FormatError, match=r"no LSTM in it .* but 1000 tensors"):
        pytorch.read(path)
    assert len(loads) == 2


def test_two_tensors_of_one_name_are_refused(path):
    """Their names differ in the file, and not as paths."""
    value = {"a": {**state_dict(), "b.x": state_dict()["bias_ih_l0"]}, "a.b": state_dict()}
    assert len(pytorch.read(write_zip(path, value, values()))) == 2
    value = {"a": {f"b.{name}": part for name, part in state_dict().items()} | {"b": state_dict()}}
    with pytest.raises(FormatError, match=r"two tensors in it are a\.b\.weight_ih_l0"):
        pytorch.read(write_zip(path, value, values()))


def test_the_last_value_of_a_key_counts(path):
    data = dumped(state_dict())
    twice = data[:-2] + dumped({"weight_hh_l0": None})[4:-2] + b"u."
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", twice)
        for key, content in values().items():
            archive.writestr(f"a/data/{key}", content)
    with pytest.raises(FormatError, match="weight_hh_l0 is missing"):
        pytorch.read(path)


def test_names_in_errors_stand_in_one_line(path):
    value = {"a\nb": {"c\x00." + name: part for name, part in state_dict().items()}}
    storages = values()
    del storages["1"]
    with pytest.raises(FormatError, match="weight_hh_l0") as caught:
        pytorch.read(write_zip(path, value, storages))
    assert "\n" not in str(caught.value)
    with pytest.raises(FormatError, match=r"a\\nb\.x") as caught:
        pytorch.read(write_zip(path, {"a\nb": {"x": tensor(storage("1", 4), (4,))}}, {}))
    assert "\n" not in str(caught.value)
