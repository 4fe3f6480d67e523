"""Targets made of what there is: our LSTMs, onnxruntime, torch, Keras, functions, programs.

| function | of what |
|---|---|
| `from_lstm` | an `lstm_fast.LSTM`, on whatever backend |
| `from_model` | an `lstm_fast.Model`, likewise |
| `from_onnx_model` | a whole model in onnxruntime, stepped as `load_model` steps it |
| `from_named` | a function that returns a new session of a whole model, in any library |
| `from_onnx` | a model file that onnxruntime runs |
| `from_torch` | an `nn.LSTM`, an `nn.LSTMCell`, or a module that returns (y, state) |
| `from_keras` | a stateful Keras layer or model |
| `from_function` | any Python function (x, h, c) -> (y, h, c) |
| `from_c` | a C function void f(const float *x, float *h, float *c, float *y) |
| `from_command` | a program that speaks the line protocol of `adapters.process` |
| `from_vad` | a whole voice activity detector, in any library: audio in, a probability out |
| `from_sessions` | a function that returns a new object with reset() and step(x) |
"""

from __future__ import annotations

from ._extras import need
from ._onnx_models import from_onnx_model
from ._onnx_sequences import OnnxSequencesTarget
from ._onnx_whole import OnnxModelTarget
from .functions import from_c, from_function, from_sessions
from .keras import from_keras
from .models import ModelTarget, NamedTarget, from_model, from_named
from .onnx import OnnxTarget, from_onnx
from .ours import LstmTarget, from_lstm
from .process import from_command
from .torch import TorchTarget, from_torch
from .vad import VadTarget, from_vad

__all__ = [
    "LstmTarget",
    "ModelTarget",
    "NamedTarget",
    "OnnxModelTarget",
    "OnnxSequencesTarget",
    "OnnxTarget",
    "TorchTarget",
    "VadTarget",
    "from_c",
    "from_command",
    "from_function",
    "from_keras",
    "from_lstm",
    "from_model",
    "from_named",
    "from_onnx",
    "from_onnx_model",
    "from_sessions",
    "from_torch",
    "from_vad",
    "need",
]
