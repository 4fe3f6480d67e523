"""The choice of backend and ISA, and what a user is told when it can't be had."""

from __future__ import annotations

import inspect
import shutil
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

import lstm_fast
from conftest import known_isas
from lstm_fast import LSTM
from processes import python

NATIVE = bool(known_isas())
needs_native = pytest.mark.skipif(not NATIVE, reason="the native core is not built")


def last_line(process):
    return process.stderr.strip().splitlines()[-1]


def test_available_is_ordered_and_makes_what_it_says():
    names = lstm_fast.available()
    assert names[-1] == "reference"
    kinds = [name.partition(":")[0] for name in names]
    assert kinds == sorted(kinds, key=["native", "numba", "reference"].index)
    expected = [f"native:{isa}" for isa, missing in known_isas().items() if not missing]
    assert [n for n in names if n.startswith("native")] == expected
    for name in names:
        backend, _, isa = name.partition(":")
        lstm = LSTM.random(2, 3, backend=backend, isa=isa or None)
        assert (lstm.backend, lstm.isa) == (backend, isa or None)


def test_the_best_is_the_default():
    code = "import lstm_fast as f; l = f.LSTM.random(2, 3); print(l.backend, l.isa)"
    backend, _, isa = lstm_fast.available()[0].partition(":")
    process = python(code)
    assert process.stdout.split() == [backend, isa or "None"]


def test_properties(implementation):
    lstm = implementation.random(5, 7, 3, bias=False)
    sizes = (lstm.input_size, lstm.hidden_size, lstm.num_layers, lstm.output_size)
    assert sizes == (5, 7, 3, 7)
    assert lstm.nbytes >= 4 * sum(w.size for w in lstm.state_dict().values())
    assert not any("bias" in name for name in lstm.state_dict())
    assert f"LSTM(5, 7, num_layers=3, backend='{implementation.backend}'" in repr(lstm)
    assert isinstance(lstm.stream(), lstm_fast.Stream)
    assert lstm.stream().lstm is lstm


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"backend": "cuda"}, ValueError, "no backend 'cuda'; choose one of native, numba"),
        ({"backend": 3}, TypeError, "backend must be a string or None, found int"),
        ({"isa": 3}, TypeError, "isa must be a string or None, found int"),
        ({"backend": "reference", "isa": "avx2"}, ValueError, "isa='avx2' is for the native"),
    ],
)
def test_bad_choices(arguments, error, message):
    with pytest.raises(error, match=message):
        LSTM.random(4, 4, **arguments)


@needs_native
def test_unknown_isa():
    with pytest.raises(
        ValueError, match=r"isa='sse9' is not an ISA of lstm_fast; this CPU can run .*scalar"
    ):
        LSTM.random(4, 4, isa="sse9")


@needs_native
def test_absent_isa(monkeypatch):
    backend = lstm_fast._backends.load("native")
    monkeypatch.setattr(backend, "isas", lambda: {"avx512": ["avx512bw", "avx512vl"], "scalar": []})
    message = "'avx512' needs avx512bw, avx512vl, which this CPU or its operating system lacks"
    with pytest.raises(ValueError, match=message):
        LSTM.random(4, 4, isa="avx512")
    assert "native:avx512" not in lstm_fast.available()
    assert LSTM.random(4, 4).isa == "scalar"


@needs_native
def test_the_environment_chooses():
    code = "import lstm_fast as f; l = f.LSTM.random(2, 3); print(l.backend, l.isa)"
    assert python(code, LSTM_FAST_ISA="scalar").stdout.split() == ["native", "scalar"]
    assert python(code, LSTM_FAST_BACKEND="reference").stdout.split() == ["reference", "None"]
    both = python(code, LSTM_FAST_BACKEND="reference", LSTM_FAST_ISA="scalar")
    assert both.stdout.split() == ["reference", "None"]  # the ISA is the native backend's affair
    assert python(code, LSTM_FAST_ISA="", LSTM_FAST_BACKEND="").stdout.startswith("native")
    argument = code.replace("2, 3", "2, 3, isa='scalar', backend='native'")
    best = lstm_fast.available()[0].partition(":")[2]
    override = python(argument, LSTM_FAST_ISA=best, LSTM_FAST_BACKEND="reference")
    assert override.stdout.split() == ["native", "scalar"]


@needs_native
def test_a_wrong_environment_is_an_error():
    code = "import lstm_fast; lstm_fast.LSTM.random(4, 4).stream()"
    assert (
        "ValueError: LSTM_FAST_ISA='sse9' is not an ISA of lstm_fast; this CPU can run"
        in last_line(python(code, LSTM_FAST_ISA="sse9"))
    )
    assert "ValueError: LSTM_FAST_BACKEND='gpu' is not a backend; choose one of" in last_line(
        python(code, LSTM_FAST_BACKEND="gpu")
    )


def test_import_is_light():
    code = """
        import sys, numpy
        before = set(sys.modules)
        import lstm_fast
        lstm_fast.available()
        heavy = {"numba", "llvmlite", "onnx", "onnxruntime", "torch", "scipy", "matplotlib"}
        heavy |= {"hashlib", "json"} - before
        print(sorted(heavy & set(sys.modules)))
    """
    process = python(code)
    assert process.stdout.strip() == "[]", process.stderr


FALLBACK = """
    import warnings, lstm_fast
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        first = lstm_fast.LSTM.random(2, 3)
        lstm_fast.LSTM.random(2, 3)
    print(first.backend, len(caught), lstm_fast.available())
    print(caught[0].category.__name__, caught[0].filename, caught[0].message)
"""


def test_without_the_core_one_warning_says_so():
    pytest.importorskip("numba")
    line, warning = python(FALLBACK, hidden=["lstm_fast._native"]).stdout.splitlines()
    assert line == "numba 1 ['numba', 'reference']"
    for text in ("RuntimeWarning <string>", "native core is missing", "'numba'", "C compiler"):
        assert text in warning


def test_without_core_and_numba_the_reference_serves():
    hidden = ["lstm_fast._native", "numba", "llvmlite"]
    line, warning = python(FALLBACK, hidden=hidden).stdout.splitlines()
    assert line.startswith("reference 1 [")
    for text in ("RuntimeWarning <string>", "'reference'", "pip install 'numba>=0.59'"):
        assert text in warning


@needs_native
def test_the_warning_says_what_the_core_lacks():
    """And not that the core is missing, where it is only that Numba would be faster."""
    cell = "lstm_fast.LSTM.random(2, 3, cell=lstm_fast.Cell(gate='softplus'))"
    code = FALLBACK.replace("lstm_fast.LSTM.random(2, 3)", cell)
    line, warning = python(code, hidden=["numba", "llvmlite"]).stdout.splitlines()
    assert line.startswith("reference 1 ['native:")
    assert "because the 'native' backend has no softplus; for a faster one, pip install" in warning
    assert "core is missing" not in warning


@needs_native
def test_with_the_core_there_is_no_warning():
    """Negative control of the two above."""
    assert python(FALLBACK.replace("print(caught[0]", "#")).stdout.startswith("native 0 ")


def test_asking_by_name_for_what_is_missing_is_an_error():
    hidden = ["lstm_fast._native", "numba", "llvmlite"]
    for backend, advice in (("native", "C compiler"), ("numba", r"pip install 'numba>=0.59'")):
        process = python(
            f"import lstm_fast; lstm_fast.LSTM.random(2, 3, backend={backend!r})", hidden=hidden
        )
        assert "BackendUnavailableError" in last_line(process)
        assert advice in last_line(process)


def test_numba_works_without_a_place_for_its_cache(tmp_path):
    """A read-only installation and no home: it compiles each time, and says nothing."""
    pytest.importorskip("numba")
    code = """
        import numba.core.caching as caching
        from numba.core.caching import _Cache
        caching.CacheImpl._locator_classes = []
        import lstm_fast
        lstm_fast.LSTM.random(2, 3, backend="numba").stream().step([1, 2])
        print("stepped")
    """
    process = python(code)
    assert process.stdout.strip() == "stepped", process.stderr


def test_numba_compiles_once(tmp_path):
    pytest.importorskip("numba")
    code = """
        import lstm_fast, lstm_fast._backends._numba_kernels as backend
        lstm = lstm_fast.LSTM.random(2, 3, backend="numba")
        for weight_dtype in ("float32", "float16", "int8"):
            lstm.astype(weight_dtype).stream().step([1, 2])
        print(*(kernel.cache_hits for kernel in backend.kernels.values()))
    """
    environment = {"NUMBA_CACHE_DIR": str(tmp_path)}
    assert python(code, **environment).stdout.split() == ["0", "0", "0"]
    assert python(code, **environment).stdout.split() == ["1", "1", "1"]


class FromArray:
    """Something that only `np.asarray` understands."""

    def __init__(self, value):
        self.value = value

    def __array__(self, dtype=None, copy=None):
        return self.value


NAMES = {
    "LSTMCell": {"weight_ih": (8, 3), "weight_hh": (8, 2), "bias_ih": (8,), "bias_hh": (8,)},
    "LSTM": {"weight_ih_l0": (8, 3), "weight_hh_l0": (8, 2)},
    "two layers": {
        "weight_ih_l0": (8, 3),
        "weight_hh_l0": (8, 2),
        "weight_ih_l1": (8, 2),
        "weight_hh_l1": (8, 2),
    },
}


@pytest.mark.parametrize("names", NAMES)
@pytest.mark.parametrize("kind", [np.asarray, np.ndarray.tolist, FromArray])
@pytest.mark.parametrize("prefix", ["", "model.rnn."])
def test_names_prefixes_and_kinds_of_values(implementation, names, kind, prefix):
    rng = np.random.default_rng(0)
    values = {n: rng.standard_normal(s).astype(np.float32) for n, s in NAMES[names].items()}
    mapping = {prefix + name: kind(value) for name, value in values.items()}
    mapping |= {"fc.weight": np.zeros(3), prefix + "unrelated": None, 7: None}
    lstm = LSTM.from_state_dict(
        mapping, prefix, backend=implementation.backend, isa=implementation.isa
    )
    read = lstm.state_dict()
    assert len(read) == len(values)
    for name, value in values.items():
        full = name if "_l" in name else f"{name}_l0"
        assert read[full].tobytes() == value.tobytes()
    again = implementation.from_state_dict(read).state_dict()
    assert {n: w.tobytes() for n, w in again.items()} == {n: w.tobytes() for n, w in read.items()}


def test_random_is_pytorchs_distribution():
    lstm = LSTM.random(30, 64, 2, seed=5)
    assert [w.shape for w in lstm.state_dict().values()][:4] == [
        (256, 30),
        (256, 64),
        (256,),
        (256,),
    ]
    for value in lstm.state_dict().values():
        assert abs(value).max() <= 1 / 8
        assert abs(value).max() > 0.95 / 8  # uniform: 256 draws all below this has p < 1e-5
        assert abs(value.mean()) < 0.03
    same, other = LSTM.random(30, 64, 2, seed=5), LSTM.random(30, 64, 2, seed=6)
    name = "weight_hh_l1"
    assert np.array_equal(same.state_dict()[name], lstm.state_dict()[name])
    assert not np.array_equal(other.state_dict()[name], lstm.state_dict()[name])


def test_a_source_folder_that_hides_an_installation_is_named(tmp_path):
    """After `pip install .`, Python in the source folder imports that, without a core."""
    source, site = tmp_path / "source", tmp_path / "site"
    ignored = shutil.ignore_patterns("*.so", "*.pyd", "__pycache__")
    shutil.copytree(Path(lstm_fast.__file__).parent, source / "lstm_fast", ignore=ignored)
    (site / "lstm_fast").mkdir(parents=True)
    code = (
        "import sys; from pathlib import Path\n"
        "others = [one for one in sys.path if not [*Path(one).glob('lstm_fast/_native*.so')]]\n"
        f"sys.path[:] = [{str(source)!r}, {str(site)!r}, *others]\n"
        "from lstm_fast._backends import missing; print(missing('native'))"
    )

    def said():
        return subprocess.run(
            [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True
        ).stdout

    assert "install lstm_fast again" in said()  # negative control: nothing is hidden
    (site / "lstm_fast/_native.abi3.so").touch()
    assert f"the source folder {source}" in said()
    assert f"installed in {site}: run it from another folder" in said()


@needs_native
def test_the_step_of_a_native_stream_is_the_one_in_c():
    from lstm_fast._backends.native import NativeStream

    step = NativeStream.__dict__["step"]
    assert isinstance(step, types.MethodDescriptorType)
    assert inspect.getdoc(step) == inspect.getdoc(lstm_fast.Stream.step)
    assert [*inspect.signature(step).parameters] == ["self", "x", "out"]
