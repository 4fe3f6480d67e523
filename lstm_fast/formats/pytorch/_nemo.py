"""NVIDIA NeMo's .nemo: a tar file, perhaps compressed, with a state dict and a configuration.

`ModelPT.save_to` puts model_config.yaml, model_weights.ckpt, which torch.save wrote, and files of a
tokenizer side by side. They are read where they are; nothing is unpacked to a disk.
"""

from __future__ import annotations

from typing import BinaryIO

from ..._shown import shown
from ..._source import Source
from .. import _tar
from .._files import FormatError, checked

WEIGHTS = "model_weights.ckpt"
SHARDED = "model_weights/"


def weights(source: Source, file: BinaryIO) -> Source:
    """Return the state dict in it, as a file of its own.

    Raises:
        OSError: of the file.
        FormatError: it is damaged; or its weights are missing, in several files, or sharded.
    """
    found: dict[str, bytes] = {}
    is_sharded = False
    with checked(source, "tar file"):
        for member in _tar.members(source, file):
            is_sharded = is_sharded or member.name.startswith(SHARDED)
            if member.name.rpartition("/")[2] != WEIGHTS:
                continue
            if not member.is_file:
                raise ValueError(f"{shown(member.name)} is not a regular file in it")
            if found:
                raise ValueError(
                    f"there are several {WEIGHTS}, of parts of a model: merge them with NeMo"
                )
            found[member.name] = member.read()
    for name, data in found.items():
        return source.part(name, data)
    if is_sharded:
        raise FormatError(
            f"{source}: its weights are a distributed checkpoint: load it with NeMo, and "
            "torch.save(model.state_dict(), 'model.pt')"
        )
    raise FormatError(f"{source}: a tar file without {WEIGHTS}, which NeMo's have: unpack it")
