"""What `lstm-fast check factories:...` takes in tests."""

import sys

import numpy as np
from wrong_targets import WEIGHTS, ForgetsToResetC, Numpy, Session

from lstm_fast import LSTM
from lstm_fast.checks import adapters

lstm = LSTM.from_weights(WEIGHTS)
small = lstm.astype("int8", keep_weights=True)


def module():
    import torch

    return torch.nn.LSTM(5, 8)


def one_session():
    return Numpy().session()


def no_input_size():
    return adapters.from_sessions(Numpy().session)


def right():
    return Numpy()


def forgets_to_reset_c():
    return Numpy(ForgetsToResetC)


def nothing():
    return None


def raises():
    raise RuntimeError("no weights")


# ---- what cannot be run ----------------------------------------------------------------------


def wants_arguments(x, h, c):
    return x, h, c


async def coroutine():
    return Numpy()


def several_lines():
    raise RuntimeError("one\n  two\nthree")


def says_nothing():
    raise AssertionError


def exits():
    sys.exit(0)


class PanicError(BaseException):
    """What libraries in Rust raise: no Exception."""


def panics():
    raise PanicError("index out of bounds")


class Divides(Numpy):
    @property
    def input_size(self):
        return 1 // 0

    @input_size.setter
    def input_size(self, value):
        pass


def divides_for_its_size():
    return Divides()


def has_no_size():
    target = Numpy()
    target.input_size = None
    return target


class Nothing(Numpy):
    def session(self):
        return None


def has_no_session():
    return Nothing()


def takes_too_much():
    target = Numpy()
    target.input_size = 10**13
    return target


class Exits(Numpy):
    def session(self):
        sys.exit(0)


def session_exits():
    return Exits()


class Late(Session):
    """Right for some steps of all sessions together, and then not; at once where after is 0."""

    steps = 0
    after = 60

    def step(self, x):
        type(self).steps += 1
        y = super().step(x)
        return y if self.steps <= self.after else self.wrong(y)

    def wrong(self, y):
        sys.exit(0)


class AtOnce(Late):
    after = 0


class Matrix(AtOnce):
    def wrong(self, y):
        return np.zeros((2, 3))


class LateShape(Late):
    def wrong(self, y):
        return y[:3]


def step_exits():
    return Numpy(AtOnce)


def returns_a_matrix():
    return Numpy(Matrix)


def late_exit():
    return Numpy(Late)


def late_shape():
    return Numpy(LateShape)


class ClosesBadly(Session):
    closed = 0

    def close(self):
        type(self).closed += 1
        if self.closed > 20:
            raise OSError("busy")


def close_raises_late():
    return Numpy(ClosesBadly)


class Busy(Numpy):
    def close(self):
        raise RuntimeError("busy")


def close_raises():
    return Busy()


class Interrupted(Numpy):
    def session(self):
        raise KeyboardInterrupt


def interrupted():
    return Interrupted()


def function_divides():
    return adapters.from_function(lambda x, h, c: 1 // 0, 5, 8)


def torch_raises():
    import torch

    class Raises(torch.nn.Module):
        input_size = 5

        def forward(self, x, state):
            raise RuntimeError("shapes\ndo not fit")

    return Raises()


def torch_linear():
    import torch

    return torch.nn.Linear(5, 8)


def keras_is_stateless():
    import keras

    return keras.Sequential([keras.Input((None, 5)), keras.layers.LSTM(8)])
