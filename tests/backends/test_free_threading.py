"""Python without its lock, and interpreters beside the first: in processes of their own."""

from __future__ import annotations

import sys
import sysconfig

import pytest

from conftest import known_isas
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
