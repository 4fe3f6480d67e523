"""Where the package silero-vad has its model."""

from importlib import metadata
from pathlib import Path

import pytest


def silero_file() -> Path:
    """Not by importing it: an example of ours has the name of its module."""
    try:
        distribution = metadata.distribution("silero-vad")
    except metadata.PackageNotFoundError:
        pytest.skip("silero-vad is not installed")
    return Path(str(distribution.locate_file("silero_vad/data/silero_vad_16k_op15.onnx")))
