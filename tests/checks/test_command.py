"""`lstm-fast check` and the pytest plugin."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import wrong_targets
from silero_path import silero_file
from wrong_targets import WEIGHTS

from lstm_fast import cli
from lstm_fast.formats import safetensors

pytest_plugins = ["pytester"]

HERE = Path(__file__).parent
GOLDEN = HERE.parent / "golden" / "formats"
FAST = ["--steps", "300", "--skip", "latency,slow_paths"]


@pytest.fixture(autouse=True)
def here(monkeypatch):
    monkeypatch.chdir(HERE)


@pytest.fixture(scope="module")
def reference_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("reference") / "reference.safetensors"
    safetensors.write(path, WEIGHTS)
    return str(path)


def check(*arguments):
    return cli.main(["check", *arguments])


def test_onnx_file(capsys):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    assert check(str(GOLDEN / "onnx" / "torchscript_stack.onnx"), *FAST) == 0
    out = capsys.readouterr().out
    assert "h and c of every layer within" in out  # the reference is the LSTM in the file
    assert "7 passed" in out


@pytest.mark.parametrize("name", ["two_layers.pt", "projected.pt", "no_bias.pt"])
@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
def test_torch_file(name, capsys):
    pytest.importorskip("torch")
    assert check(str(GOLDEN / "pytorch" / name), *FAST) == 0
    assert "7 passed" in capsys.readouterr().out


def test_silero_from_the_shell(capsys):
    pytest.importorskip("onnxruntime")
    path = silero_file()
    assert check(str(path), "--set", "sr=16000", "--frame", "576", *FAST) == 0
    captured = capsys.readouterr()
    assert "4 passed, 3 skipped" in captured.out
    assert "takes 128 values per frame, the model 576" in captured.err


def test_factory(reference_file, capsys, tmp_path):
    files = ["--json", str(tmp_path / "r.json"), "--junit", str(tmp_path / "r.xml")]
    assert check("factories:right", "--reference", reference_file, *FAST, *files) == 0
    read = json.loads((tmp_path / "r.json").read_text())
    assert read["passed"]
    assert ElementTree.parse(tmp_path / "r.xml").getroot().attrib["failures"] == "0"


def test_what_is_an_lstm_is_its_own_reference(capsys):
    assert check("factories:lstm", *FAST) == 0
    assert "h and c of every layer" in capsys.readouterr().out
    assert check("factories:small", *FAST) == 0  # as int8
    assert check("factories:small", *FAST, "--weight-dtype", "float16") == 1
    out = capsys.readouterr().out
    assert "rounded:int8" in out
    assert "reference = target.lstm" in out
    pytest.importorskip("torch")
    assert check("factories:module", *FAST, "--only", "agreement") == 0


def test_one_of_several_lstms_is_named(capsys, tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")

    class Two(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = torch.nn.LSTM(5, 8), torch.nn.LSTM(5, 8)

    torch.save(Two().state_dict(), tmp_path / "two.pt")
    monkeypatch.chdir(tmp_path)
    assert check("two.pt", *FAST) == 2
    assert "there are 2 LSTMs in it, say which" in capsys.readouterr().err
    assert check("two.pt", "--name", "b", "--only", "agreement") == 0
    capsys.readouterr()
    options = ["--name", "a", "--only", "agreement", "--json", "r.json"]
    torch.save(torch.nn.LSTM(5, 8).state_dict(), "other.pt")
    assert check("two.pt", "--reference", "two.pt", *options) == 0
    assert check("other.pt", "--reference", "two.pt", *options) == 1
    (result,) = json.loads(Path("r.json").read_text())["results"]
    with pytest.raises(AssertionError):
        exec(result["reproduction"], {})


def test_a_failure_is_one_and_its_reproduction_stands_alone(capsys, tmp_path):
    json_file = tmp_path / "r.json"
    assert check("factories:forgets_to_reset_c", "--only", "reset", "--json", str(json_file)) == 1
    out = capsys.readouterr().out
    assert "FAILED" in out
    code = json.loads(json_file.read_text())["results"][0]["reproduction"]
    assert code.rstrip() in out
    with pytest.raises(AssertionError, match="after a reset"):
        exec(code, {})  # it loads the target by itself


def test_program(reference_file):
    command = f"{sys.executable} {HERE / 'port.py'} many"
    assert check("--command", command, "--reference", reference_file, *FAST) == 0
    command = f"{sys.executable} {HERE / 'port.py'} forgets_c"
    assert check("--command", command, "--reference", reference_file, "--only", "agreement") == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["missing.onnx"], "missing.onnx: there is no such file"),
        (["missing.pt"], "missing.pt: there is no such file"),
        (["factories"], "expected a file .onnx"),
        (["factories:none_such"], "factories has no none_such"),
        (["no_such_module:x"], "can't import no_such_module"),
        (["factories:nothing"], "NoneType is neither a Target"),
        (["factories:raises"], "raised RuntimeError: no weights"),
        ([], "give a TARGET, or a program"),
        (["factories:right", "--command", "x"], "give a TARGET, or a program"),
        (["--command", "/does/not/exist"], "can't start /does/not/exist"),
        (["--command", "'port"], "can't read the command \"'port\": No closing quotation"),
        (["factories:right", "--reference", "none.pt"], "none.pt"),
        (["factories:right", "--json", "/does/not/exist/r.json"], "no such directory"),
        (["factories:right", "--only", "drift"], "no reference: give one with --reference"),
    ],
)
def test_what_cannot_run_is_two(arguments, says, capsys):
    if "missing.pt" in arguments:
        pytest.importorskip("torch")
    assert check(*arguments) == 2
    assert says in capsys.readouterr().err


def test_wrong_usage_is_two(capsys):
    with pytest.raises(SystemExit) as stopped:
        check("factories:right", "--only", "rest")
    assert stopped.value.code == 2
    assert "there is no check 'rest'" in capsys.readouterr().err


# ---- pytest --------------------------------------------------------------------------------------

TESTS = """
import pytest
import lstm_fast
from lstm_fast import checks
from wrong_targets import WEIGHTS, ForgetsToResetC, Numpy

pytestmark = pytest.mark.lstm_options(drift_steps=300, samples=10, timing_seconds=0.1)

def test_right(lstm_check):
    report = lstm_check(Numpy(), reference=WEIGHTS)
    assert report.facts["option drift_steps"] == 300

def test_ours(lstm_check):
    lstm_check(lstm_fast.LSTM.from_weights(WEIGHTS), WEIGHTS, only=["reset", "agreement"])

def test_wrong(lstm_check):
    lstm_check(Numpy(ForgetsToResetC), only=["reset"])

class WrongTwice(ForgetsToResetC):
    def step(self, x):
        y = super().step(x)
        self.h[-1][0] += 0.01
        return self.h[-1].copy()

def test_wrong_twice(lstm_check):
    lstm_check(Numpy(WrongTwice), WEIGHTS, only=["reset", "agreement", "determinism"])

@pytest.mark.parametrize("name", ["reset", "determinism", "drift"])
def test_each(lstm_check, name):
    lstm_check(Numpy(ForgetsToResetC), only=[name])
"""


def test_plugin(pytester):
    pytester.makeconftest('pytest_plugins = ["lstm_fast.checks.pytest"]')
    pytester.makepyfile(TESTS)
    options = ("-p", "no:cacheprovider", "-q", "-rA", "-o", f"pythonpath={HERE}")
    result = pytester.runpytest_subprocess(*options)
    text = result.stdout.str()
    assert "reset failed: a reset does not bring back the initial state" in text
    assert "assert bits(again) == bits(fresh)" in text
    assert "agreement failed" in text
    assert "lstm_fast/checks/pytest.py" not in text.split("FAILURES")[1].split("short test")[0]
    passed = {"test_right", "test_ours", "test_each[determinism]"}
    for line in text.splitlines():
        if line.startswith("PASSED"):
            passed.discard(line.partition("::")[2].strip())
    assert not passed
    assert "FAILED test_plugin.py::test_wrong" in text
    assert "FAILED test_plugin.py::test_each[reset]" in text
    assert result.ret == 1


def test_the_right_one_is_right():
    """Negative control of this file: what the factories give differs as their names say."""
    x = np.ones(5, np.float32)
    for kind, same in ((wrong_targets.Session, True), (wrong_targets.ForgetsToResetC, False)):
        session = wrong_targets.Numpy(kind).session()
        first = session.step(x)
        session.reset()
        assert (session.step(x).tobytes() == first.tobytes()) is same
