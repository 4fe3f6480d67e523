"""Where the package silero-vad has its model."""

from importlib import metadata
from pathlib import Path

import pytest


def silero_file(name="silero_vad_16k_op15.onnx") -> Path:
    """Not by importing it: an example of ours has the name of its module."""
    try:
        distribution = metadata.distribution("silero-vad")
    except metadata.PackageNotFoundError:
        pytest.skip("silero-vad is not installed")
    return Path(str(distribution.locate_file(f"silero_vad/data/{name}")))


def silero_files() -> list[Path]:
    """Return all its ONNX files; none where it is not installed."""
    try:
        files = metadata.distribution("silero-vad").files or []
    except metadata.PackageNotFoundError:
        return []
    return sorted(Path(str(one.locate())) for one in files if one.suffix == ".onnx")
