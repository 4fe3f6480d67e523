"""What people save around the weights of an LSTM: each form is made with the real torch.save."""

from __future__ import annotations

import argparse
import collections
import copy
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import pathlib
import random
import sys
import types
import uuid
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn


class Net(nn.Module):
    """An LSTM within something."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(5, 3)
        self.rnn = nn.LSTM(3, 4, 2, bidirectional=True)
        self.head = nn.Linear(8, 2)
        self.register_buffer("mean", torch.ones(3))
        self.register_buffer("scratch", torch.ones(3), persistent=False)

    def forward(self, x):
        return self.head(self.rnn(self.embedding(x))[0])


@dataclasses.dataclass
class Config:
    size: int = 3
    path: pathlib.Path = pathlib.Path("/data/x")
    weights: Any = None


@dataclasses.dataclass(frozen=True)
class Slotted:
    __slots__ = ("weights",)
    weights: Any


class Mode(enum.Enum):
    TRAIN = "train"


class Flags(enum.IntFlag):
    A = 1
    B = 2


class Checkpoint(NamedTuple):
    weights: Any
    epoch: int


class AttributeDict(dict):
    """As Lightning has one for hyperparameters."""

    def __getattr__(self, name):
        return self[name]


class Trainer:
    """Holds everything, and itself."""

    def __init__(self, net):
        self.model = net
        self.myself = self
        self.history = [self, {"trainer": self}]


class OldStyle:
    def __init__(self, weights):
        self.weights = weights

    def __getstate__(self):
        return (3, self.weights)

    def __setstate__(self, state):
        raise AssertionError("nothing of a file is called")


class Evil:
    """What it runs would be seen: the file that it names would be there."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return pathlib.Path.touch, (self.path,)


class Subclass(torch.Tensor):
    pass


def foreign(name: str) -> type:
    """Return a class that pickles as one of a library that is not here."""
    module, _, name = name.rpartition(".")
    cls = type(name, (), {"__module__": module})
    for part in (module.partition(".")[0], module):
        sys.modules[part] = types.ModuleType(part)
    setattr(sys.modules[module], name, cls)
    return cls


def forget() -> None:
    """Remove those libraries."""
    for name in FOREIGN:
        module = name.rpartition(".")[0]
        for part in (module.partition(".")[0], module):
            sys.modules.pop(part, None)


FOREIGN = ("omegaconf.dictconfig.DictConfig", "pytorch_lightning.callbacks.ModelCheckpoint")


def foreign_object(name: str, **attributes: Any) -> Any:
    result = foreign(name)()
    result.__dict__.update(attributes)
    return result


def trained(net):
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.zeros(2, dtype=torch.long)).sum().backward()
    optimizer.step()
    return optimizer


def shared_key():
    """Return a tuple whose hash takes for ever."""
    key = ()
    for _ in range(60):
        key = (key, key)
    return key


class Unhashed(dict):
    """A dict whose one entry is pickled under a key that nobody can hash."""

    def __reduce__(self):
        return dict, (), None, None, iter([(shared_key(), 1), ([], 2), ({}, 3)])


def state_dict_of(net, **beside):
    return {**beside, "state_dict": net.state_dict()}


def beside(value):
    """Return a function that makes a checkpoint with a value beside the weights."""
    is_function = isinstance(value, types.FunctionType)
    return lambda net: {"value": value(net) if is_function else value, "w": net.state_dict()}


def in_state_dict(**values):
    return lambda net: {**net.state_dict(), **values}


def with_attribute(net):
    parameters = dict(net.named_parameters())
    for parameter in parameters.values():
        parameter.note = "pickled with its state"
    return parameters


FORMS = {
    # the weights alone, in what may hold them
    "state dict": lambda net: net.state_dict(),
    "plain dict": lambda net: dict(net.state_dict()),
    "parameters": lambda net: dict(net.named_parameters()),
    "parameters with attributes": with_attribute,
    "pairs": lambda net: list(net.state_dict().items()),
    "defaultdict": lambda net: collections.defaultdict(list, net.state_dict()),
    "AttributeDict": lambda net: AttributeDict(net.state_dict()),
    "NumPy arrays": lambda net: {name: x.numpy() for name, x in net.state_dict().items()},
    "NumPy arrays, big-endian": lambda net: {
        name: x.numpy().astype(x.numpy().dtype.newbyteorder(">"))
        for name, x in net.state_dict().items()
    },
    "NumPy arrays, Fortran order": lambda net: {
        name: np.asfortranarray(x.numpy()) for name, x in net.state_dict().items()
    },
    "transposed views": lambda net: {
        name: x.t().contiguous().t() if x.ndim == 2 else x for name, x in net.state_dict().items()
    },
    "views of one storage": lambda net: dict(
        zip(
            net.state_dict(),
            map(
                torch.Tensor.view_as,
                torch.cat([x.flatten() for x in net.state_dict().values()]).split(
                    [x.numel() for x in net.state_dict().values()]
                ),
                net.state_dict().values(),
            ),
            strict=True,
        )
    ),
    "tensor subclass": lambda net: {
        name: x.as_subclass(Subclass) for name, x in net.state_dict().items()
    },
    "DataParallel": lambda net: nn.DataParallel(net).state_dict(),
    # modules
    "module": lambda net: net,
    "LSTM": lambda net: net.rnn,
    "DataParallel module": nn.DataParallel,
    "module in a dict": lambda net: {"epoch": 3, "model": net},
    "module in a list": lambda net: [net, 3],
    "module that holds itself": Trainer,
    "module with hooks": lambda net: (net.register_forward_hook(functools.partial(print)), net)[1],
    "averaged module": torch.optim.swa_utils.AveragedModel,
    # what is around them
    "list": lambda net: [net.state_dict(), 3],
    "tuple": lambda net: (1, (net.state_dict(), None)),
    "deque": lambda net: collections.deque([net.state_dict()], 3),
    "namedtuple": lambda net: Checkpoint(net.state_dict(), 3),
    "dataclass": lambda net: Config(weights=net.state_dict()),
    "slots": lambda net: Slotted(net.state_dict()),
    "old state": lambda net: OldStyle(net.state_dict()),
    "object array": lambda net: np.array([net.state_dict(), 3], dtype=object),
    "keys of numbers": lambda net: {0: {1: net.state_dict()}, True: 3},
    # what is beside them
    "optimizer": beside(lambda net: trained(net).state_dict()),
    "optimizer pickled whole": beside(trained),
    "scheduler": beside(lambda net: torch.optim.lr_scheduler.StepLR(trained(net), 3).state_dict()),
    "GradScaler": beside(lambda net: torch.amp.GradScaler("cpu").state_dict()),
    "NumPy scalars": beside([np.float64(3), np.float32(3), np.int64(3), np.bool_(True)]),
    "NumPy arrays beside": beside({"classes": np.array(["a", "b"]), "cm": np.eye(3)}),
    "Namespace": beside(argparse.Namespace(lr=0.1, path=pathlib.Path("/x"))),
    "dataclass and enums": beside([Config(), Mode.TRAIN, Flags.A | Flags.B, {Mode.TRAIN: 3}]),
    "collections": beside(
        [collections.Counter("abca"), collections.deque([1], 3), collections.OrderedDict(a=1)]
    ),
    "sets": beside([{1, 2}, frozenset({3}), set()]),
    "dates": beside([datetime.datetime(2024, 5, 1), datetime.timedelta(3), uuid.UUID(int=5)]),
    "numbers": beside([2**100, -(2**70), 1j, decimal.Decimal("1.5"), fractions.Fraction(1, 3)]),
    "bytes and ranges": beside([b"\xff\x00", bytearray(b"ab"), range(3), slice(1, 2), ...]),
    "random states": beside(
        lambda net: [
            torch.get_rng_state(),
            np.random.RandomState(3).get_state(),
            np.random.default_rng(3),
            random.Random(3).getstate(),
            torch.Generator().get_state(),
        ]
    ),
    "torch's own": beside(
        [torch.Size([3]), torch.device("cpu"), torch.float16, torch.strided, torch.finfo]
    ),
    "functions and classes": beside([nn.functional.relu, nn.LSTM, len, functools.partial(print)]),
    "strange keys": beside({(1, 2): 3, 1.5: 2, None: 1, b"a": 4, True: 5, frozenset({1}): 6}),
    "tensors as keys": beside({torch.ones(3): 1}),
    "keys that hash for ever": beside(Unhashed()),
    "vocabulary": beside({f"word{n}": n for n in range(3000)}),
    "criterion": beside(nn.CrossEntropyLoss(weight=torch.ones(3))),
    "omegaconf": beside(lambda net: foreign_object(FOREIGN[0], _content={"a": [1, {"b": 2}]})),
    "Lightning": lambda net: {
        "state_dict": net.state_dict(),
        "hyper_parameters": AttributeDict(lr=0.1, name="x"),
        "callbacks": {"ModelCheckpoint{'monitor': None}": foreign_object(FOREIGN[1], best=3.0)},
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 3}}}},
        "optimizer_states": [trained(net).state_dict()],
        "lr_schedulers": [],
        "pytorch-lightning_version": "2.1.0",
    },
    # what is within them
    "ints and strings within": in_state_dict(epoch=3, name="x", nothing=None, ratio=0.5),
    "other dtypes within": in_state_dict(
        a=torch.ones(2, dtype=torch.complex64), b=torch.ones(2, dtype=torch.bool), c=torch.ones(())
    ),
    "newer dtypes within": in_state_dict(
        a=torch.ones(2).to(torch.float8_e4m3fn), b=torch.ones(2, dtype=torch.uint16)
    ),
    "sparse, quantized, meta within": lambda net: {
        **net.state_dict(),
        "a": torch.eye(3).to_sparse(),
        "b": torch.quantize_per_tensor(torch.ones(2), 1.0, 0, torch.qint8),
        "c": torch.ones(2, device="meta"),
    },
}
SEVERAL = {
    "EMA copy": lambda net: {"model": net.state_dict(), "ema": copy.deepcopy(net.state_dict())},
    "EMA without a copy": lambda net: {"model": net.state_dict(), "ema": net.state_dict()},
    "the same dict twice": lambda net: dict.fromkeys(("model", "ema"), net.state_dict()),
    "modules": lambda net: {"model": net, "ema": copy.deepcopy(net)},
    "pairs of dicts": lambda net: [("model", net.state_dict()), ("ema", net.state_dict())],
}
