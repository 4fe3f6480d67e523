"""LSTMs in ONNX models: the operators LSTM and com.microsoft's DynamicQuantizeLSTM.

    lstm = lstm_fast.load("model.onnx")            # or name= of the node, where there are several

Weights may be initialisers, in the file or beside it, or computed from some by the operators in
`_operators`; nodes may be inside of `If` branches and functions. Nodes that hand on nothing but Y,
as exporters write the layers of a stack, become one LSTM, named by the first; nodes with the same
weights are found once. What onnxruntime computes is what we compute, also where ONNX's text leaves
room: `clip` does not bound c on its way out, `input_forget` makes f = 1 - i.
"""

from __future__ import annotations

from .._recognise_ours import FORMATS
from ._reader import read

__all__ = ["SUFFIXES", "read", "recognise"]

SUFFIXES, recognise = FORMATS["onnx"]
