"""What is measured: the modes, and the sizes, by default those of real models."""

from __future__ import annotations

import re
from typing import NamedTuple

from . import CannotRunError

MODES = ("hot", "cold", "prepared")  # and those of pools: see pool_sizes


class Shape(NamedTuple):
    """The sizes of one LSTM, and whose they are.

    A whole model has 0 layers, and the numbers of values that a step takes and returns.
    """

    name: str
    input_size: int
    hidden_size: int
    num_layers: int = 1

    @property
    def sizes(self) -> str:
        """As people write it: "80->64 x2"."""
        layers = f" x{self.num_layers}" if self.num_layers > 1 else ""
        return f"{self.input_size}->{self.hidden_size}{layers}"

    @property
    def fmas(self) -> int:
        """Multiply-adds in the sums of an LSTM's step; biases and activations not counted."""
        inputs = self.input_size + (self.num_layers - 1) * self.hidden_size
        return 4 * self.hidden_size * (inputs + self.num_layers * self.hidden_size)


TABLE = (
    Shape("Neural Amp, small", 1, 16),
    Shape("Neural Amp", 1, 40),
    Shape("wake word", 40, 64),
    Shape("TEN-VAD", 80, 64, 2),
    Shape("Silero VAD", 128, 128),
    Shape("256 square", 256, 256),
    Shape("fraud events", 220, 200, 2),
    Shape("512 square", 512, 512),
    Shape("RNN-T predictor", 640, 640, 2),
    Shape("1024 square", 1024, 1024),
)


def parse(text: str) -> tuple[Shape, ...]:
    """Read "128x128,80x64x2": input size, hidden size and, where there are several, layers.

    Raises:
        CannotRunError: it is not written like that.
    """
    return tuple(_parse_one(part.strip()) for part in text.split(","))


def _parse_one(text: str) -> Shape:
    if not re.fullmatch(r"[1-9]\d{0,4}x[1-9]\d{0,4}(x[1-9]\d?)?", text):
        raise CannotRunError(
            f"{text!r} is not a shape: write INPUTxHIDDEN or INPUTxHIDDENxLAYERS, such as 80x64x2"
        )
    sizes = tuple(int(size) for size in text.split("x"))
    own = Shape("", *sizes)
    return next((shape for shape in TABLE if shape[1:] == own[1:]), own)


def pool_sizes(mode: str) -> tuple[int, int]:
    """Return how many streams a call takes and how many the pool has: "pool64", "half2048".

    Raises:
        CannotRunError: it is not such a mode.
    """
    match = re.fullmatch(r"(pool|half)([1-9]\d{0,5})", mode)
    if not match:
        raise CannotRunError(
            f"there is no mode {mode!r}; choose from {', '.join(MODES)}, pool<N>, half<N>, pools"
        )
    capacity = int(match[2])
    return (capacity if match[1] == "pool" else max(1, capacity // 2)), capacity
