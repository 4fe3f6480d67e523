"""Python without its lock, and interpreters beside the first."""

from __future__ import annotations

import sys
import sysconfig
from abc import ABCMeta
from collections.abc import Mapping

import numpy as np
import pytest

from conftest import known_isas
from lstm_fast import Model, vad
from processes import python

free_threaded = pytest.mark.skipif(
    not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="this Python has its lock"
)
native = pytest.mark.skipif(not known_isas(), reason="the native core is not built")

EVERYTHING = """
    import sys, warnings
    warnings.simplefilter("error")  # such as that an extension has brought the lock back
    import numpy as np
    import lstm_fast
    from lstm_fast import LSTM, Model, vad
    looks = [sys._is_gil_enabled()]
    x = np.zeros(3, np.float32)
    for name in lstm_fast.available():
        backend, _, isa = name.partition(":")
        if backend == "numba":
            continue  # brings an extension that needs the lock in some versions
        lstm = LSTM.random(3, 4, backend=backend, isa=isa or None)
        for model in (lstm, Model.from_program(lstm.program, backend=backend, isa=isa or None)):
            stream, pool = model.stream(), model.pool(2)
            handle = pool.open()
            stream.step(x), stream.step(x.tolist()), stream.step({"x": x})
            stream.run(np.zeros((500, 3), np.float32))
            stream.restore(stream.snapshot()), stream.prepare(), stream.copy()
            pool.step([handle], x[None]), pool.run([handle], np.zeros((1, 500, 3), np.float32))
            pool.prepare([handle]), pool.restore(pool.snapshot(handle)), pool.close(handle)
        lstm(np.zeros((1, 9, 3), np.float32))
        looks.append(sys._is_gil_enabled())
    vad.Chunks(44100).push(np.zeros(44100, np.float32))
    vad.SpeechEvents().push(0.9)
    looks.append(sys._is_gil_enabled())
    print(lstm_fast.available()[0], *sorted(set(looks)))
"""


@free_threaded
@native
def test_nothing_brings_the_lock_back():
    process = python(EVERYTHING)
    assert process.stderr == ""
    kind, *found = process.stdout.split()
    assert kind.startswith("native")
    assert found == ["False"]


@free_threaded
@native
def test_the_lock_is_noticed_where_it_is():
    """Negative control."""
    assert python(EVERYTHING, PYTHON_GIL="1").stdout.split()[1:] == ["True"]


LOAD = """
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_loader
loader = ExtensionFileLoader("_native_step", {path!r})
module = module_from_spec(spec_from_loader("_native_step", loader))
loader.exec_module(module)
"""
INSIDE = """
    import _interpreters as interpreters
    from lstm_fast._native import __file__ as path
    code = {code!r}.format(path=path)
    exec(code)  # the control: here it loads, once more
    other = interpreters.create({kind!r})
    print(getattr(interpreters.run_string(other, code), "formatted", "loaded"))
    interpreters.destroy(other)
"""


@native
@pytest.mark.skipif(sys.version_info < (3, 13), reason="interpreters are made so from 3.13 on")
@pytest.mark.parametrize("kind", ["isolated", "legacy"])
@pytest.mark.parametrize("code", ["import lstm_fast", LOAD], ids=["package", "extension"])
def test_another_interpreter_is_refused(code, kind):
    """legacy: as embedding programs make them, where what is not made for them is let in."""
    process = python(INSIDE.format(code=code, kind=kind))
    assert process.stdout.startswith("ImportError"), process.stdout + process.stderr


def calls_of(model):
    """Each call of a session, by name, with what services give it."""
    x, stream, pool = np.zeros(3, np.float32), model.stream(), model.pool(2)
    handle = pool.open()
    handles = np.array([handle], np.uint64)
    return {
        "made": model.stream,
        "a pool": lambda: model.pool(1),
        "step": lambda: stream.step(x),
        "step of a list": lambda: stream.step(x.tolist()),
        "step of a dict": lambda: stream.step({"x": x}),
        "run": lambda: stream.run(x[None]),
        "run of lists": lambda: stream.run([x.tolist()]),
        "reset": lambda: stream.reset(stream.state),
        "state": lambda: setattr(stream, "state", stream.state),
        "snapshot": lambda: stream.restore(stream.snapshot()),
        "copy": stream.copy,
        "prepare": stream.prepare,
        "pool step": lambda: pool.step(handles, x[None]),
        "pool step of lists": lambda: pool.step([handle], [x.tolist()]),
        "pool run": lambda: pool.run(handles, x[None, None]),
        "pool run of lists": lambda: pool.run((handle,), [[x.tolist()]], [1]),
        "pool state": lambda: pool.set_state(handle, pool.state(handle)),
        "pool snapshot": lambda: pool.close(pool.restore(pool.snapshot(handle))),
        "pool prepare": lambda: pool.prepare([handle]),
        "pool reset": lambda: pool.reset(handle),
        "close": lambda: pool.close(handle),
    }


def everything(implementation):
    """Those of an LSTM, of a whole model, and of voice activity."""
    lstm = implementation.random(3, 4)
    backend, isa = implementation.backend, implementation.isa
    for model in (lstm, Model.from_program(lstm.program, backend=backend, isa=isa)):
        yield from ((f"{type(model)} {n}", call) for n, call in calls_of(model).items())
    chunks, events = vad.Chunks(16000), vad.SpeechEvents()
    yield "chunks", lambda: chunks.push(np.zeros(512, np.float32))
    for value in (0.5, np.float32(0.5), np.float64(0.5), 1):
        yield f"events of {type(value)}", lambda value=value: events.push(value)


def asking(monkeypatch, calls):
    """The names of calls that ask an abstract class whether something is of its kind."""
    asked, is_instance = set(), ABCMeta.__instancecheck__
    for name, call in calls:

        def noticed(cls, value, name=name):
            asked.add(name)
            return is_instance(cls, value)

        with monkeypatch.context() as patch:
            patch.setattr(ABCMeta, "__instancecheck__", noticed)
            call()
    return asked


def test_no_call_asks_an_abstract_class(implementation, monkeypatch):
    """All threads would wait there for locks, which a fork leaves in the child as they are."""
    assert asking(monkeypatch, [*everything(implementation)]) == set()


def test_asking_an_abstract_class_is_noticed(monkeypatch):
    """Negative control."""
    calls = [("asks", lambda: isinstance([], Mapping)), ("asks not", lambda: isinstance([], dict))]
    assert asking(monkeypatch, calls) == {"asks"}
