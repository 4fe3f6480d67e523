"""PyTorch: state dicts in .pt, .pth and .bin files, checkpoints around one, TorchScript, modules.

Files are read without PyTorch, by an unpickler that runs nothing of theirs (see `_pickle_machine`);
what else a checkpoint holds beside its weights does not matter. A module that is at hand needs no
file: `from_module`.
"""

from __future__ import annotations

from .._recognise_ours import FORMATS
from ._modules import from_module
from ._reader import read

__all__ = ["SUFFIXES", "from_module", "read", "recognise"]

SUFFIXES, recognise = FORMATS["pytorch"]
