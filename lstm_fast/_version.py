"""The version: the one place, which pyproject.toml, CMakeLists.txt and the C core take it from."""

__version__ = "0.1.0"
