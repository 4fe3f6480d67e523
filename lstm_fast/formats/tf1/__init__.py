"""TensorFlow 1: the arrays of its LSTM cells, as they come or in an .npz under their names.

    weights = tf1.from_arrays([{"kernel": ..., "bias": ...}], forget_bias=1.0)
    found = tf1.read("variables.npz", forget_bias=1.0)  # np.savez(file, **{v.name: value, ...})

A kernel is (I + H, 4H), gates i, c, f, o; with a projection (I + P, 4H). `forget_bias` is not in
the arrays: the cells add it at every step, to the forget gate and nothing else, so you have to say
what yours was made with. `BasicLSTMCell`, `LSTMCell` and the LSTMBlock cells take 1.0 unless they
are told; weights of `CudnnLSTM` have none, 0.0. The activation and the clips are not in the arrays
either; those that you do not say are taken as the cells have them unless they are told, and are
in `Found.assumptions`.
"""

from __future__ import annotations

from .._recognise_ours import FORMATS
from ._cells import from_arrays
from ._reader import inventory, read

__all__ = ["SUFFIXES", "from_arrays", "inventory", "read", "recognise"]

SUFFIXES, recognise = FORMATS["tf1"]
