"""Prints a digest of what a model makes of noise, for each ISA here and weight type.

    python tests/arm/silero_bits.py FILE

Noise comes from integers by exact operations, so that it is the same everywhere.
"""

from __future__ import annotations

import hashlib
import sys

import numpy as np

import lstm_fast

CHUNK, CHUNKS = 512, 12


def noise() -> np.ndarray:
    """Chunks in -1...1, louder and louder."""
    numbers = np.arange(CHUNKS * CHUNK, dtype=np.uint64) * np.uint64(6364136223846793005)
    numbers = (numbers ^ (numbers >> np.uint64(29))) * np.uint64(2862933555777941757)
    values = (numbers >> np.uint64(41)).astype(np.float32) * np.float32(2.0**-22) - np.float32(1)
    loudness = np.repeat(np.float32(2.0) ** -np.arange(CHUNKS - 1, -1, -1), CHUNK)
    return (values * loudness.astype(np.float32)).reshape(CHUNKS, CHUNK)


def main() -> None:
    """Print weight type, digest and ISA, a line for each."""
    isas = [name.partition(":")[2] for name in lstm_fast.available() if name.startswith("native:")]
    for weight_dtype in ("float32", "float16"):
        for isa in isas:
            options = {"backend": "native", "isa": isa, "weight_dtype": weight_dtype}
            stream = lstm_fast.load_model(sys.argv[1], **options).stream()
            digest = hashlib.sha256(b"".join(stream.step(x).tobytes() for x in noise()))
            print(weight_dtype, digest.hexdigest(), isa)


if __name__ == "__main__":
    main()
