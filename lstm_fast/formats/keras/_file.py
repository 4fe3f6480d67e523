"""Opening Keras's files: what is in the zip file, or in the HDF5 file alone."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

from ..._source import Source
from .. import _json, _zip
from .._files import checked
from ._hdf5 import File, Object
from ._versions import Version

STEPS_A_VALUE = 3.0  # of a config, which is gone through several times
WEIGHTS = "model.weights.h5"
LAYERS = "layers"
OLD_LAYERS = "_layer_checkpoint_dependencies"  # what Keras 2.12 calls the group "layers"


@dataclass(frozen=True)
class Opened:
    """A file that is open.

    root: of the HDF5 file.
    config: of the model, parsed; None in a file of weights.
    version: of Keras, that wrote it.
    """

    root: Object
    config: Any
    version: Version


@contextmanager
def opened(source: Source) -> Iterator[Opened]:
    """Open a file for as long as its weights are read.

    Raises:
        OSError: it can't be opened.
        FormatError: it is damaged.
    """
    with source.open() as file:
        if file.read(4) != b"PK\3\4":
            with checked(source, "HDF5"):
                root = File(file, source.budget).root
                version, texts = _version(root), root.attribute("model_config")
            config = None
            if texts:
                config = _json.parse(
                    source, "model_config", texts[0].partition(b"\0")[0], STEPS_A_VALUE
                )
            yield Opened(root, config, version)
            return
        config, metadata, weights = _unzip(source, file)
    with io.BytesIO(weights) as memory:  # whose end frees it, before anything is made of weights
        del weights
        with checked(source, WEIGHTS):
            root = File(memory, source.budget).root
        text = metadata.get("keras_version") if isinstance(metadata, dict) else None
        yield Opened(root, config, Version(text if isinstance(text, str) else None, True))


def _version(root: Object) -> Version:
    """Return what an HDF5 file says of it, at its root or where a whole model's weights are."""
    text = root.text("keras_version")
    weights = root.get("model_weights")
    if text is None and weights is not None:
        text = weights.text("keras_version")
    has_groups = any(root.get(name) is not None for name in (LAYERS, OLD_LAYERS))
    return Version(text, has_groups)


def _unzip(source: Source, file: BinaryIO) -> tuple[Any, Any, bytes]:
    """Return config, metadata and the HDF5 file in a zip file."""
    with checked(source, "zip file", *_zip.ERRORS), _zip.opened(source, file) as archive:

        def member(name: str) -> bytes:
            with checked(source, name, *_zip.ERRORS):
                return _zip.read(source, archive, archive.getinfo(name))

        config = _json.parse(source, "config.json", member("config.json"), STEPS_A_VALUE)
        metadata = _json.parse(source, "metadata.json", member("metadata.json"))
        return config, metadata, member(WEIGHTS)
