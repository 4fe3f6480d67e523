"""Zip files, JSON texts and pickles that no reader takes, and directories: what is in them."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from . import _json, _zip
from ._files import FormatError
from ._inventory import listed
from ._next_steps import ORIGINAL, PADDLE, RESAVE_CHECKPOINT, RESAVE_SAVED_MODEL, TENSORFLOW_JS
from ._recognise_ours import FORMATS, TORCH_INDEX, exported_root, torch_root
from ._sample import Sample

INDEX = ".safetensors.index.json"  # of shards, which need not be given
SUFFIXES = (
    INDEX,
    TORCH_INDEX,
    ".safetensors",
    *(".pt", ".pth", ".ckpt", ".jit", ".pt2", ".nemo", ".onnx", ".keras", ".h5", ".hdf5"),
    *(".tflite", ".lite", ".nam", ".aidax", ".npz", ".eqx", ".bin"),
)
INDEXES = (INDEX, TORCH_INDEX)
MOST_ENTRIES = 2_000  # of a directory that are looked at
LARGEST_JSON = 1 << 20
PT2 = (
    "a program of torch.export (.pt2): load it with torch.export.load(path) and "
    "torch.save(program.state_dict, 'model.pt')"
)
READ_HERE = {"config.json", "metadata.json", "model.weights.h5"}
ZIP_END = b"PK\5\6"  # before the last bytes of a zip file, and a comment of at most 64 KiB
CUT_ZIP = (
    "a damaged zip file, whose end is missing: it was cut short, or is still being written: fetch "
    "or write it again"
)
# What a zip file is, by the names of files and folders of which it has one.
ZIPS = (
    ({"serialized_exported_program.pt", "aotinductor", "model_weights_config.json"}, PT2),
    ({"com.apple.CoreML", "coremldata.bin"}, f"a Core ML package: {ORIGINAL}"),
    ({"saved_model.pb"}, f"a zipped TensorFlow SavedModel: unpack it; {RESAVE_SAVED_MODEL}"),
    ({"MAR-INF"}, "a TorchServe archive: unpack it and give the .pt or .pth in it"),
    ({"coefficients.bin"}, "a Deeplearning4j model: write its arrays by LSTM.from_state_dict"),
    ({"[Content_Types].xml"}, "a document of an office program: give a model"),
)
MARKS = READ_HERE.union(*(marks for marks, _ in ZIPS))
# What a JSON text is, by its keys, of which it has one, or all where they are a tuple.
JSONS: tuple[tuple[set[str] | tuple[str, ...], str], ...] = (
    ({"modelTopology", "weightsManifest"}, f"a TensorFlow.js model: {TENSORFLOW_JS}"),
    (
        ("class_name", "config"),
        "a Keras architecture without weights: give the .h5 or .keras file of the whole model",
    ),
    (
        {"model_type", "architectures", "transformers_version"},
        "a Hugging Face config without weights: give the model.safetensors beside it",
    ),
    (
        ("dilations", "residual_channels", "variables"),
        "a WaveNet of PedalNetRT or SmartGuitarAmp, which is not computed here: give a model with "
        "recurrent layers",
    ),
)
ERRORS = ("error", "message", "detail", "errors")  # keys of what a server says


# ---- zip files -----------------------------------------------------------------------------------


def zip_kind(sample: Sample) -> bool | str:
    """Tell what a zip file is that no reader takes."""
    if not sample.head.startswith(b"PK\x03\x04"):
        return False
    try:
        with sample.source.open() as file, _zip.opened(sample.source, file) as archive:
            names = archive.namelist()
            if torch_root(names) is not None or exported_root(names) is not None:
                return False  # of PyTorch, whose reader says what is wrong
    except FormatError:  # there are too many, which its reader says
        return False
    except Exception:  # zipfile has many errors for damaged files
        return False if ZIP_END in sample.end else CUT_ZIP
    return _zip_kind(names)


def _zip_kind(names: list[str]) -> bool | str:
    parts = {part for name in names for part in MARKS.intersection(name.split("/"))}
    if READ_HERE & parts or all(name.endswith(".npy") for name in names):
        return False  # of Keras or NumPy, whose reader says what is wrong
    for marks, text in ZIPS:
        if marks & parts:
            return text
    inside = [name for name in names if name.lower().endswith(SUFFIXES)][:3]
    what = f"a zip archive of {listed(names)}: unpack it"
    return f"{what} and give {' or '.join(inside)}" if inside else what


# ---- pickles and JSON ----------------------------------------------------------------------------


def pickle_kind(sample: Sample) -> bool | str:
    """Tell what a pickle is in which nobody keeps an LSTM under PyTorch's names."""
    if sample.head[:1] != b"\x80" or sample.head[1:2] not in (b"\2", b"\3", b"\4", b"\5"):
        return False
    both = sample.head + sample.tail
    if b"StructuredToParameterName@@" in both or sample.name.endswith((".pdparams", ".pdopt")):
        return (
            "PaddlePaddle's parameters: load them there with paddle.load, and write them as .npz "
            "or in PyTorch's names; or export the model by paddle2onnx"
        )
    if b"sklearn" in both and b"torch" not in both:
        return "a pickle of scikit-learn, which is not run: give a model"
    return False


def json_kind(sample: Sample) -> bool | str:
    """Tell what a JSON text is that no reader takes."""
    if not sample.text or sample.text[0] not in "{[":
        return False
    if any(FORMATS[name].recognise(sample.source, sample.head) for name in ("nam", "rtneural")):
        return False  # whose reader says what is wrong
    if sample.size > LARGEST_JSON:
        return "a JSON text without weights: give the file with the weights"
    try:
        content = _json.parse(sample.source, "JSON", _json.text_of(sample.source))
    except FormatError:
        return False
    return _json_kind(sample, content if isinstance(content, dict) else {})


def _json_kind(sample: Sample, content: dict[str, Any]) -> bool | str:
    keys = set(content)
    if "layers" in keys or "state_dict" in keys:
        return False  # of RTNeural, likewise
    if "weight_map" in keys:
        return _index_kind(sample, content["weight_map"])
    for marks, kind in JSONS:
        if keys >= set(marks) if isinstance(marks, tuple) else keys & marks:
            return kind
    if words := next((content[key] for key in ERRORS if key in keys), None):
        return f"a JSON error ({str(words)[:80]!r}) in place of a file: download the file itself"
    what = f"a JSON text of {listed(content)}" if content else "a JSON text with no names in it"
    return f"{what}: give the file with the weights"


def _index_kind(sample: Sample, shards: Any) -> bool | str:
    """Tell what an index of shards is."""
    names = sorted({str(name) for name in shards.values()}) if isinstance(shards, dict) else []
    if not all(name.endswith((".safetensors", ".bin")) for name in names):
        return f"an index of shards in another format: give one of {listed(names)}"
    if sample.name.endswith(".index.json"):
        return False  # whose reader says what is wrong
    if sample.source.path is None:
        return f"an index of shards, {listed(names)}, which are looked for beside it: give its path"
    return f"an index of shards: its name has to end in .index.json, beside {listed(names)}"


# ---- directories ---------------------------------------------------------------------------------


def directory(path: Path) -> str:
    """Return what a directory is, and which file in it to give."""
    entries = sorted(itertools.islice(path.iterdir(), MOST_ENTRIES))
    names = [entry.name for entry in entries]
    kind = _directory_kind(names)
    if kind:
        return f"it is a directory, {kind}"
    inside = [name for name in names if name.lower().endswith(SUFFIXES)]
    for entry in entries:
        if len(inside) < 12 and entry.is_dir():
            below = itertools.islice(entry.iterdir(), MOST_ENTRIES)
            inside += [
                f"{entry.name}/{one.name}" for one in below if one.name.lower().endswith(SUFFIXES)
            ]
    inside = [name for name in inside if name.endswith(INDEXES)] or sorted(inside, key=_preference)
    if len(inside) == 1:
        return f"it is a directory: give {path / inside[0]}"
    if inside:
        return f"it is a directory: give one of the files in it: {listed(inside)}"
    if not names:
        return "it is a directory with nothing in it"
    return f"it is a directory, in which no file looks like a model; there are {listed(names)}"


def _preference(name: str) -> tuple[int, str]:
    suffix = next(n for n, one in enumerate(SUFFIXES) if name.lower().endswith(one))
    return suffix, name


# What a directory is: by the files in it, of which it has one; and by the ends of their names.
DIRECTORIES = (
    ({"saved_model.pb", "saved_model.pbtxt"}, f"a TensorFlow SavedModel: {RESAVE_SAVED_MODEL}"),
    ({"com.apple.CoreML", "coremldata.bin", "Manifest.json"}, f"a Core ML package: {ORIGINAL}"),
    (
        {"data.pkl"},
        "an unpacked file of torch.save: pack it again without compression, `zip -0 -r model.pt "
        "FOLDER`",
    ),
    ({"model.json"}, f"a TensorFlow.js model: {TENSORFLOW_JS}"),
)
ENDS = (
    ((".data-00000-of-00001", ".ckpt.index"), f"with a TensorFlow checkpoint: {RESAVE_CHECKPOINT}"),
    ((".pdmodel", ".pdiparams", ".pdparams"), f"a PaddlePaddle model: {PADDLE}"),
)


def _directory_kind(names: list[str]) -> str | None:
    kinds = [text for marks, text in DIRECTORIES if marks & set(names)]
    kinds += [text for ends, text in ENDS if any(name.endswith(ends) for name in names)]
    return kinds[0] if kinds else None
