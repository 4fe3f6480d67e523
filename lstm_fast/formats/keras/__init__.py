"""Keras: .keras and .weights.h5 of Keras 3, .h5 and .keras of Keras 2; without Keras or h5py.

    LSTM, CuDNNLSTM, RNN of LSTMCells, each also in Bidirectional and TimeDistributed, in models in
    models; those that follow each other and are as wide make one stack.

A file of weights alone (`save_weights`) says nothing about activations or order: there, every LSTM
is on its own, with the activations that the options give. Where they give none, the version that
the file says is asked for its defaults, which `Found.assumptions` tells; for a version whose
default is not known, recurrent_activation must be given.

Keras's arrays are transposed to ours and their gates i, f, c, o are ours, too. `unit_forget_bias`
is how the bias was once initialised; it is in the weights, and nothing is added.

libhdf5 does not survive damaged files, so the little of HDF5 that Keras uses is read here: see
`_hdf5`. `_config` has what a model is made of, `_weights` where its arrays are, and `_stacks` makes
stacks of them.
"""

from __future__ import annotations

from .._recognise_ours import FORMATS
from ._reader import inventory, read

__all__ = ["SUFFIXES", "inventory", "read", "recognise"]

SUFFIXES, recognise = FORMATS["keras"]
