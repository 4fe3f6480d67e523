"""Writes tf1/*.npz with TensorFlow's own cells: their variables, and beside them what they compute.

    pip install tensorflow-cpu==2.15.* && python make_tf1.py

Ran with TensorFlow 2.15.1 (CPU, float32; graphs of tf.compat.v1). <name>.npz has the variables
under their names. <name>_run.npz has x (T, I) and, after each step, h and c (T, L, ...) of every
layer; for the LSTM of two directions y (T, 2 H) and the h and c (2, H) at their ends.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf

v1 = tf.compat.v1
v1.disable_eager_execution()
HERE = Path(__file__).resolve().parent / "tf1"
INPUTS, UNITS, STEPS = 5, 7, 24
cells = v1.nn.rnn_cell


def variables(session, rng):
    """Give every variable values that differ between gates, and return them by name."""
    for variable in v1.global_variables():
        scale = 1.5 if "bias" in variable.name or "diag" in variable.name else 0.6
        value = rng.standard_normal(variable.shape.as_list()).astype(np.float32) * scale
        session.run(variable.assign(value))
    return {variable.name: session.run(variable) for variable in v1.global_variables()}


def stacked(name, seed, make, layers=1, **options):
    """One cell or several on each other: every layer's h and c after every step."""
    rng = np.random.default_rng(seed)
    with tf.Graph().as_default(), v1.Session() as session:
        parts = [make(UNITS, **options) for _ in range(layers)]
        cell = parts[0] if layers == 1 else cells.MultiRNNCell(parts)
        x = v1.placeholder(tf.float32, (1, STEPS, INPUTS))
        with v1.variable_scope("rnn"):
            state, states = cell.zero_state(1, tf.float32), []
            for t in range(STEPS):
                _, state = cell(x[:, t], state)
                states.append([state] if layers == 1 else list(state))
        values = variables(session, rng)
        xs = (2 * rng.standard_normal((1, STEPS, INPUTS))).astype(np.float32)
        run = session.run(states, {x: xs})
    h = np.array([[part.h[0] for part in step] for step in run])
    c = np.array([[part.c[0] for part in step] for step in run])
    np.savez(HERE / f"{name}.npz", **values)
    np.savez(HERE / f"{name}_run.npz", x=xs[0], h=h, c=c)


def bidirectional(name, seed):
    """static_bidirectional_rnn: the outputs of both directions, and their last states."""
    rng = np.random.default_rng(seed)
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, (1, STEPS, INPUTS))
        both = [cells.LSTMCell(UNITS), cells.LSTMCell(UNITS)]
        outputs, *ends = v1.nn.static_bidirectional_rnn(
            *both, tf.unstack(x, axis=1), dtype=tf.float32
        )
        values = variables(session, rng)
        xs = (2 * rng.standard_normal((1, STEPS, INPUTS))).astype(np.float32)
        ys, ends = session.run((outputs, ends), {x: xs})
    np.savez(HERE / f"{name}.npz", **values)
    last = {"h": np.array([end.h[0] for end in ends]), "c": np.array([end.c[0] for end in ends])}
    np.savez(HERE / f"{name}_run.npz", x=xs[0], y=np.array(ys)[:, 0], **last)


def block(name, seed):
    """The fused LSTMBlockFusedCell's op, with peepholes: it adds forget_bias itself."""
    rng = np.random.default_rng(seed)
    with tf.Graph().as_default(), v1.Session() as session:
        shapes = {"kernel": (INPUTS + UNITS, 4 * UNITS), "bias": (4 * UNITS,)}
        shapes |= dict.fromkeys(("w_i_diag", "w_f_diag", "w_o_diag"), (UNITS,))
        with v1.variable_scope("rnn/lstm_fused_cell"):
            v = {key: v1.get_variable(key, shape) for key, shape in shapes.items()}
        x = v1.placeholder(tf.float32, (STEPS, 1, INPUTS))
        zeros = tf.zeros((1, UNITS))
        run = tf.raw_ops.BlockLSTM(
            seq_len_max=np.int64(STEPS), x=x, cs_prev=zeros, h_prev=zeros, w=v["kernel"],
            wci=v["w_i_diag"], wcf=v["w_f_diag"], wco=v["w_o_diag"], b=v["bias"],
            forget_bias=1.0, cell_clip=0.8, use_peephole=True,
        )  # fmt: skip
        values = variables(session, rng)
        xs = (2 * rng.standard_normal((STEPS, 1, INPUTS))).astype(np.float32)
        h, c = session.run((run.h, run.cs), {x: xs})
    np.savez(HERE / f"{name}.npz", **values)
    np.savez(HERE / f"{name}_run.npz", x=xs[:, 0], h=h, c=c)


if __name__ == "__main__":
    HERE.mkdir(exist_ok=True)
    stacked("basic", 1, cells.BasicLSTMCell, layers=2)
    stacked("no_forget_bias", 2, cells.BasicLSTMCell, forget_bias=0.0)
    stacked("peepholes", 3, cells.LSTMCell, layers=2, use_peepholes=True, cell_clip=0.9)
    stacked("projected", 4, cells.LSTMCell, layers=2, num_proj=3, proj_clip=0.7, cell_clip=1.5,
            use_peepholes=True)  # fmt: skip
    stacked("relu", 5, cells.LSTMCell, activation=tf.nn.relu, forget_bias=0.5)
    bidirectional("bidirectional", 6)
    block("block_fused", 7)
