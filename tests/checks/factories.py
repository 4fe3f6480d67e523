"""What `lstm-fast check factories:...` takes in tests."""

from wrong_targets import WEIGHTS, ForgetsToResetC, Numpy

from lstm_fast import LSTM

lstm = LSTM.from_weights(WEIGHTS)
small = lstm.astype("int8", keep_weights=True)


def module():
    import torch

    return torch.nn.LSTM(5, 8)


def right():
    return Numpy()


def forgets_to_reset_c():
    return Numpy(ForgetsToResetC)


def nothing():
    return None


def raises():
    raise RuntimeError("no weights")
