"""Small files that ask for much: memory, or work; each grows with its scale.

BOMBS: by name the file's name, what makes it, and what is done with it.
"""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from handmade_hdf5 import Hdf5, attribute, lstm

KERAS_3 = {"keras_version": "3.0.0"}


class Bomb(NamedTuple):
    """A file: its name, and what makes it of a scale."""

    name: str
    make: Callable[[int], bytes]
    scale: int
    action: str = "read"
    options: dict[str, Any] = {}  # noqa: RUF012  (which nobody changes)


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    result = io.BytesIO()
    with zipfile.ZipFile(result, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return result.getvalue()


def keras(config: Any, weights: bytes, metadata: Any = None, method: int = 8) -> bytes:
    """A .keras file. config: a value, or JSON as it is."""
    text = config if isinstance(config, bytes) else json.dumps(config).encode()
    held = json.dumps(KERAS_3 if metadata is None else metadata).encode()
    members = {"metadata.json": held, "config.json": text, "model.weights.h5": weights}
    return zipped(members, method)


def model(layers: list[Any], **more: Any) -> dict[str, Any]:
    kind = "Functional" if any("inbound_nodes" in one for one in layers) else "Sequential"
    return {"class_name": kind, "config": {"name": "m", "layers": layers, **more}}


def layer(kind: str, **options: Any) -> dict[str, Any]:
    return {"module": "keras.layers", "class_name": kind, "config": options}


def empty() -> bytes:
    file = Hdf5()
    return file.finish(file.group([]))


# ---- HDF5 ----------------------------------------------------------------------------------------


def one_text(scale: int) -> bytes:
    """References to one text, of which each but the last character is wanted."""
    file, length = Hdf5(), 100 * scale
    heap = file.texts(b"a" * length)
    references = [(length - 1, heap, 1)] * min(scale, 4000)
    more = range(max(1, scale // 4000))
    return file.finish(file.group([], [attribute(f"layer_names{n}", references) for n in more]))


def one_text_packed(scale: int) -> bytes:
    """The same within a .keras file, in which it is small."""
    return keras(model([]), one_text(scale))


def overlapping_names(scale: int) -> bytes:
    """Names of a group that are the ends of others."""
    file = Hdf5()
    texts = b"".join(b"%08d" % n * 500 + b"\0" for n in range(scale // 4001 + 1))
    heap = file.names(bytes(8) + texts)
    target = file.group([])
    tree = file.entries([(8 + n, target) for n in range(scale)])
    return file.finish(file.object([(0x11, struct.pack("<QQ", tree, heap))]))


def long_names(scale: int) -> bytes:
    """The same with names as long as the heap is."""
    file = Hdf5()
    heap = file.names(bytes(8) + b"a" * 10 * scale + b"\0")
    target = file.group([])
    tree = file.entries([(8 + n, target) for n in range(scale)])
    return file.finish(file.object([(0x11, struct.pack("<QQ", tree, heap))]))


def groups_in_groups(scale: int) -> bytes:
    """Each group holds the next one twice."""
    file = Hdf5()
    inner = file.group([])
    for _ in range(scale):
        inner = file.group([("a", inner), ("b", inner)])
    return file.finish(inner)


def shared_cells(scale: int) -> bytes:
    """Groups that share a list of cells, in which there is none."""
    file = Hdf5()
    nothing = file.group([])
    cells = file.group([(str(n), nothing) for n in range(scale)])
    cell = file.group([("cells", cells)])
    groups = [(f"g{n}", file.group([("cell", cell)])) for n in range(scale // 10)]
    return file.finish(file.group(groups))


def one_array_many_times(scale: int) -> bytes:
    """Links to one LSTM."""
    file = Hdf5()
    one = lstm(file)
    layers = file.group([(f"lstm_{n}" if n else "lstm", one) for n in range(scale)])
    config = model([layer("LSTM", units=1, name=str(n)) for n in range(scale)])
    return keras(config, file.finish(file.group([("layers", layers)])))


def many_messages(scale: int) -> bytes:
    """Links to one object with many messages."""
    file = Hdf5()
    heavy = file.object([(0x7F, b"")] * min(scale, 60_000))
    return file.finish(file.group([(f"g{n}", heavy) for n in range(scale)]))


def many_names_of_weights(scale: int) -> bytes:
    """Names of weights with many pieces."""
    file = Hdf5()
    name = b"/".join([b"ab"] * 5000) + b"/kernel:0"
    heap = file.texts(name)
    inner = file.group([], [attribute("weight_names", [(len(name), heap, 1)] * min(scale, 4000))])
    names = file.texts(b"x")
    return file.finish(file.group([("x", inner)], [attribute("layer_names", [(1, names, 1)])]))


def many_zeros(scale: int) -> bytes:
    """A config of zeros and short words."""
    file = Hdf5()
    text = b"ab\0" * scale
    heap = file.texts(text)
    reference = attribute("model_config", [(len(text), heap, 1)])
    return file.finish(file.group([], [reference]))


# ---- config --------------------------------------------------------------------------------------


def many_layers(scale: int) -> bytes:
    """Layers of nothing."""
    return keras(b'{"config":{"layers":[' + b"{}," * scale + b"{}]}}", empty())


def long_name_of_cells(scale: int) -> bytes:
    """An RNN of cells of different sizes, each of which is called after it."""
    cells = [{"class_name": "LSTMCell", "config": {"units": 1 + n % 7}} for n in range(scale)]
    stacked = {"class_name": "StackedRNNCells", "config": {"cells": cells}}
    return keras(model([layer("RNN", name="n" * 50 * scale, cell=stacked)]), empty())


def long_mask(scale: int) -> bytes:
    """A Masking of a long name before many LSTMs."""
    lstms = [layer("LSTM", units=1, name=str(n)) for n in range(scale)]
    return keras(model([layer("Masking", name="m" * 100 * scale), *lstms]), empty())


def long_version(scale: int) -> bytes:
    """A long version of Keras, on which the gates of many LSTMs depend."""
    config = model([layer("LSTM", units=1, name=str(n)) for n in range(scale)])
    return keras(config, empty(), {"keras_version": "3.0" + "." * 100 * scale})


def deep_references(scale: int) -> bytes:
    """Tensors far down in lists."""
    nodes: Any = [["a", 0, 0]] * scale
    for _ in range(400):
        nodes = [nodes]
    one = {**layer("LSTM", units=1, name="a"), "inbound_nodes": [nodes]}
    return keras(model([one, one], output_layers=[]), empty())


def many_masks(scale: int) -> bytes:
    """A call that gets many tensors, all of them as masks, too."""
    found = [[str(n), 0, 0] for n in range(scale)]
    node = {"args": [["x", 0, 0], *found], "kwargs": {"mask": found}}
    one = {**layer("LSTM", units=1, name="a"), "inbound_nodes": [node]}
    return keras(model([one], output_layers=[]), empty())


def deep_models(scale: int) -> bytes:
    """Models in models with many layers in the innermost, and long names."""
    inner = [layer("LSTM", units=0, name=str(n)) for n in range(scale)]
    for _ in range(60):
        inner = [{"class_name": "Sequential", "config": {"name": "n" * scale, "layers": inner}}]
    return keras(model(inner), empty())


def others_and_lstms(scale: int) -> bytes:
    """Recurrent layers of other kinds in the config, and LSTMs that it does not tell of."""
    file = Hdf5()
    heap = file.texts(b"kernel", b"recurrent_kernel")
    arrays = [file.array((1, 4), bytes(16)) for _ in range(2)]
    pairs, names = [], []
    for n in range(scale // 20):
        texts = file.texts(b"%d/kernel" % n, b"%d/recurrent_kernel" % n)
        names += [(7 + len(str(n)), texts, 1), (17 + len(str(n)), texts, 2)]
        held = file.group([("kernel", arrays[0]), ("recurrent_kernel", arrays[1])])
        pairs.append((str(n), held))
    del heap
    inner = file.group(pairs, [attribute("weight_names", names[:4000])])
    label = file.texts(b"x")
    root = file.group(
        [("x", inner)],
        [
            attribute("layer_names", [(1, label, 1)]),
            attribute("keras_version", [(5, file.texts(b"3.0.0"), 1)]),
        ],
    )
    config = model([layer("GRU", recurrent_initializer=1, name=str(n)) for n in range(scale)])
    return keras(config, file.finish(root))


def many_digits(scale: int) -> bytes:
    """A shape of long numbers, whose product is longer."""
    numbers = b",".join([b"7" * 4000] * scale)
    text = json.dumps(
        model(
            [
                layer("InputLayer", batch_shape=[None, None, 4], name="i"),
                layer("Reshape", target_shape=["HERE"], name="r"),
            ]
        )
    ).encode()
    return keras(text.replace(b'"HERE"', numbers), empty())


def wide_input(scale: int) -> bytes:
    """An input with an axis for each number."""
    shape = [None, None, *[1] * scale]
    return keras(model([layer("InputLayer", batch_shape=shape, name="i")]), empty())


def many_activations(scale: int) -> bytes:
    """A whole model of many small layers."""
    layers = [layer("InputLayer", batch_shape=[None, None, 4], name="i")]
    layers += [layer("ReLU", name=str(n)) for n in range(scale)]
    return keras(model(layers), empty())


# ---- zip files -----------------------------------------------------------------------------------


def many_members(scale: int) -> bytes:
    """A list of members that are all the same one."""
    first = struct.pack("<4sHHHHHIIIHH", b"PK\3\4", 20, 0, 0, 0, 0, 0, 0, 0, 4, 0) + b".npy"
    entry = struct.pack(
        "<4sHHHHHHIIIHHHHHII", *(b"PK\1\2", 20, 20, 0, 0, 0, 0, 0, 0, 0), *(4, 0, 0, 0, 0, 0, 0)
    )
    listed = (entry + b".npy") * scale
    count = min(scale, 0xFFFF)
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", 0, 0, count, count, len(listed), len(first), 0)
    return first + listed + end


def more_than_it_says(scale: int) -> bytes:
    """A member that unpacks to more than its size."""
    data = bytearray(keras({"a": 1}, bytes(1000 * scale)))
    at = data.rfind(b"PK\1\2")  # the last of the list, the weights
    data[at + 24 : at + 28] = struct.pack("<I", 96)
    return bytes(data)


def packed_zeros(scale: int) -> bytes:
    return keras({}, bytes(1000 * scale))


def headers_of_arrays(scale: int) -> bytes:
    """Arrays whose headers take long to parse."""
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': " + b"(" * 80 + b"-" * 9000
    header += b"1" + b")" * 80 + b", }\n"
    data = b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header
    return zipped({f"{n}/lstm_cell/kernel.npy": data for n in range(scale)})


def missing_cells(scale: int) -> bytes:
    """The last of many layers, alone."""
    array = io.BytesIO()
    np.save(array, np.zeros((2, 4), np.float32))
    names = [f"{n}/cell_999999/lstm_cell/kernel.npy" for n in range(scale)]
    return zipped({name: array.getvalue() for name in names})


def many_cells(scale: int) -> bytes:
    """Very many small layers."""
    array = io.BytesIO()
    np.save(array, np.zeros((2, 4), np.float32))
    names = [f"cell_{n}/lstm_cell/kernel.npy" for n in range(scale)]
    return zipped({name: array.getvalue() for name in names})


def pieces_of_names(scale: int) -> bytes:
    """Names of members that are made of many pieces."""
    names = ["/".join(f"{n}.{k}" for k in range(8000)) for n in range(scale)]
    return zipped({"first": b"", **dict.fromkeys(names, b"")})


# ---- JSON ----------------------------------------------------------------------------------------


def amp(weights: bytes, **config: int) -> bytes:
    sizes = {"input_size": 1, "hidden_size": 1, "num_layers": 1, **config}
    head = json.dumps({"version": "0.5", "architecture": "LSTM", "config": sizes})
    return head[:-1].encode() + b', "weights": ' + weights + b"}"


def lists(scale: int) -> bytes:
    return amp(b"[" + b"[]," * scale + b"0]")


def dicts(scale: int) -> bytes:
    return amp(b"[" + b'{"":0},' * scale + b"0]")


def names(scale: int) -> bytes:
    return amp(b"{" + b",".join(b'"%d":1' % n for n in range(scale)) + b"}")


def long_numbers(scale: int) -> bytes:
    return amp(b"[" + b",".join([b"9" * 4300] * scale) + b"]")


def long_fraction(scale: int) -> bytes:
    return amp(b"[0." + b"1234567890" * 100 * scale + b"]")


def wide_text(scale: int) -> bytes:
    """A long text, one character of which is wide."""
    return amp(b'"' + b"a" * 1000 * scale + b'\\ud83d\\ude00"')


def many_layers_of_amps(scale: int) -> bytes:
    numbers = b",".join([b"1"] * (14 * scale + 2))
    return amp(b"[" + numbers + b"]", num_layers=scale)


def deep(scale: int) -> bytes:
    return amp(b"[" * scale + b"]" * scale)


BOMBS = {
    "one text": Bomb("a.h5", one_text, 4000),
    "one text, packed": Bomb("a.keras", one_text_packed, 40_000),
    "overlapping names": Bomb("a.h5", overlapping_names, 20_000),
    "long names": Bomb("a.h5", long_names, 20_000),
    "groups in groups": Bomb("a.h5", groups_in_groups, 200),
    "shared cells": Bomb("a.h5", shared_cells, 20_000),
    "one array": Bomb("a.keras", one_array_many_times, 8000),
    "many messages": Bomb("a.h5", many_messages, 30_000),
    "names of weights": Bomb("a.h5", many_names_of_weights, 4000),
    "zeros": Bomb("a.h5", many_zeros, 400_000),
    "many layers": Bomb("a.keras", many_layers, 400_000),
    "long name of cells": Bomb("a.keras", long_name_of_cells, 4000),
    "long mask": Bomb("a.keras", long_mask, 4000),
    "long version": Bomb("a.keras", long_version, 4000),
    "deep references": Bomb("a.keras", deep_references, 50_000),
    "many masks": Bomb("a.keras", many_masks, 15_000),
    "deep models": Bomb("a.keras", deep_models, 4000),
    "others and LSTMs": Bomb("a.keras", others_and_lstms, 20_000),
    "many digits": Bomb("a.keras", many_digits, 4000, "load_model"),
    "wide input": Bomb("a.keras", wide_input, 100_000, "load_model"),
    "many activations": Bomb("a.keras", many_activations, 4000, "load_model"),
    "many members": Bomb("a.npz", many_members, 100_000, options={"forget_bias": 1.0}),
    "many members, unknown": Bomb("a.bin", many_members, 100_000),
    "more than it says": Bomb("a.keras", more_than_it_says, 300_000),
    "packed zeros": Bomb("a.keras", packed_zeros, 300_000),
    "headers of arrays": Bomb("a.npz", headers_of_arrays, 2000, options={"forget_bias": 1.0}),
    "missing cells": Bomb("a.npz", missing_cells, 200, options={"forget_bias": 1.0}),
    "many cells": Bomb("a.npz", many_cells, 4000, options={"forget_bias": 1.0}),
    "pieces of names": Bomb("a.zip", pieces_of_names, 60),
    "lists": Bomb("a.nam", lists, 700_000),
    "dicts": Bomb("a.nam", dicts, 400_000),
    "names": Bomb("a.nam", names, 400_000),
    "long numbers": Bomb("a.nam", long_numbers, 1000),
    "long fraction": Bomb("a.nam", long_fraction, 4000),
    "wide text": Bomb("a.nam", wide_text, 20_000),
    "layers of amps": Bomb("a.nam", many_layers_of_amps, 40_000),
    "deep": Bomb("a.nam", deep, 100_000),
}
