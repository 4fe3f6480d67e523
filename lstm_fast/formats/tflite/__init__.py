"""TensorFlow Lite: UNIDIRECTIONAL_SEQUENCE_LSTM, BIDIRECTIONAL_SEQUENCE_LSTM and LSTM operators.

All of their variants: coupled gates (CIFG), peepholes, projection, layer normalisation, clips,
tanh and relu; float32 and float16 weights, and int8 ones of dynamic range quantisation, which are
dequantised. Fully integer LSTMs are refused, each alone. Stacks and Keras's Bidirectional are put
together.
"""

from __future__ import annotations

from .._recognise_ours import FORMATS
from ._reader import inventory, read

__all__ = ["SUFFIXES", "inventory", "read", "recognise"]

SUFFIXES, recognise = FORMATS["tflite"]
