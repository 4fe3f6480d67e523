"""`lstm-fast check` and the pytest plugin."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import wrong_targets
from wrong_targets import WEIGHTS, Numpy

from lstm_fast import checks, cli
from lstm_fast.checks import _arguments
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


FILES_OF_WEIGHTS = [
    "npz/torch.npz",
    "npz/mlx.npz",
    "equinox/cell.eqx",
    "safetensors/sharded/model.safetensors.index.json",
]


@pytest.mark.parametrize("name", FILES_OF_WEIGHTS)
@pytest.mark.filterwarnings("ignore::lstm_fast.FormatWarning")
def test_other_files_of_weights(name, capsys):
    pytest.importorskip("torch")
    assert check(str(GOLDEN / name), *FAST) == 0
    assert f"{Path(name).name} in torch" in capsys.readouterr().out


def test_json_of_rtneural(capsys):
    assert check(str(GOLDEN / "rtneural" / "proteus.json"), *FAST) == 0
    assert "proteus.json in lstm_fast: passed" in capsys.readouterr().out


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
        (["m.keras"], "Keras: give module:factory, whose model has stateful=True"),
        (["factories:right", "--reference", "nofile"], "nofile: there is no such file"),
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
        (["factories:wants_arguments"], "takes arguments; a factory is called without any"),
        (["factories:coroutine"], "is an async function"),
        (["factories:several_lines"], "raised RuntimeError: one two three"),
        (["factories:says_nothing"], "says_nothing() raised AssertionError"),
        (["factories:exits"], "exits() raised SystemExit: 0"),
        (["factories:panics"], "panics() raised PanicError: index out of bounds"),
        (["exits_on_import:target"], "importing exits_on_import raised SystemExit: 0"),
        (["no_syntax:target"], "importing no_syntax raised SyntaxError"),
        (["factories:divides_for_its_size"], "input_size raised ZeroDivisionError"),
        (["factories:has_no_size"], "input_size must be the values in a frame, found None"),
        (["factories:has_no_session"], "'NoneType' object has no attribute 'step'"),
        (["factories:takes_too_much"], "takes 10000000000000 values per frame, more than"),
        (["factories:session_exits"], "session() raised SystemExit: 0"),
        (["factories:step_exits"], "step(x) raised SystemExit: 0"),
        (["factories:returns_a_matrix"], "step(x) returned shape (2, 3), expected (any)"),
        (["factories:function_divides"], "step(x) raised ZeroDivisionError"),
        (["factories:right", "--scale", "nan"], "scale must be above 0 and finite, found nan"),
        (["factories:right", "--slow-ratio", "nan"], "slow_ratio must be above 1, found nan"),
        (["--command", "x", "--timeout", "-1"], "timeouts must be above 0"),
        (["--command", f"{sys.executable} -c 'print(1)'"], "answered 'info' with '1'"),
        (["--command", f"{sys.executable} -c 'raise SystemExit(3)'"], "ended with exit status 3"),
    ],
)
def test_what_cannot_run_is_two(arguments, says, capsys, tmp_path, monkeypatch):
    if "missing.pt" in arguments:
        pytest.importorskip("torch")
    (tmp_path / "exits_on_import.py").write_text("import sys\nsys.exit(0)\n")
    (tmp_path / "no_syntax.py").write_text("def f(:\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert check(*arguments) == 2
    captured = capsys.readouterr()
    assert says in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


@pytest.mark.parametrize("name", ["one_session", "no_input_size"])
def test_what_is_no_target_yet_is_told_the_lines_that_work(name, capsys, monkeypatch):
    assert check(f"factories:{name}") == 2
    first, _, example = capsys.readouterr().err.partition("\n\n")
    assert "\n" not in first
    shown = {"MySession": lambda: Numpy().session(), "Session": lambda: Numpy().session()}
    exec(example.replace("40", "5"), shown)
    assert checks.run(shown["make"](), None, only=["determinism"]).passed


def test_the_title_is_what_was_typed_and_the_mistake_stands_before_the_code(capsys, reference_file):
    more = ["--reference", reference_file, "--only", "reset"]
    assert check("factories:forgets_to_reset_c", *more) == 1
    out = capsys.readouterr().out
    assert "\nfactories:forgets_to_reset_c: FAILED" in out
    assert out.index("reset: likely mistake: ") < out.index("reset: to reproduce\n\nimport")


def test_a_model_with_layers_before_its_lstm_is_told_once(capsys, tmp_path):
    torch = pytest.importorskip("torch")
    path = tmp_path / "inner.pt"
    torch.save(torch.nn.LSTM(6, 8).state_dict(), path)
    assert check("factories:right", "--reference", str(path)) == 2
    assert "computes something before its LSTM" in capsys.readouterr().err


def test_no_reference_for_what_needs_one_is_two(capsys):
    assert check("factories:right", "--only", "drift") == 2
    captured = capsys.readouterr()
    assert "no reference: give one with --reference" in captured.err
    assert "NOTHING COULD BE CHECKED" in captured.out


@pytest.mark.parametrize("name", ["torch_raises", "torch_linear", "keras_is_stateless"])
def test_what_a_framework_raises_is_two(name, capsys, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    pytest.importorskip("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip(name.partition("_")[0])
    assert check(f"factories:{name}") == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("name", ["bad.onnx", "bad.jit", "bad.pt", "folder.onnx"])
def test_a_file_that_is_none_is_two(name, capsys, tmp_path, monkeypatch):
    pytest.importorskip("torch")
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    Path("folder.onnx").mkdir()
    if not Path(name).exists():
        Path(name).write_text("nonsense")
    assert check(name) == 2
    err = capsys.readouterr().err
    assert name in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("name", ["late_exit", "late_shape", "close_raises_late"])
def test_after_the_first_verdict_an_error_is_a_failure(name, capsys):
    assert check(f"factories:{name}", "--no-reference", *FAST) == 1
    captured = capsys.readouterr()
    assert "FAILED" in captured.out
    assert captured.err == ""


def test_what_closing_a_target_raises_spoils_no_report(capsys):
    assert check("factories:close_raises", "--no-reference", *FAST) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "with 1 warning: close() of the target raised RuntimeError: busy" in out


def test_ctrl_c_is_130(capsys):
    assert check("factories:interrupted") == 130
    assert capsys.readouterr().err == "lstm-fast: interrupted\n"


def test_without_a_reference_is_three_unless_that_was_asked_for(capsys, reference_file):
    assert check("factories:right", *FAST) == 3
    out = " ".join(capsys.readouterr().out.split())
    assert "INCOMPLETE; agreement and drift were skipped: give one with --reference FILE" in out
    assert check("factories:right", *FAST, "--no-reference") == 0
    assert check("factories:right", "--only", "reset,nan") == 0
    assert check("factories:right", *FAST[:2], "--skip", "agreement,drift,latency,slow_paths") == 0
    assert check("factories:right", *FAST, "--reference", reference_file) == 0
    assert check("factories:forgets_to_reset_c", *FAST) == 1  # a failure is still that
    capsys.readouterr()


def test_the_help_says_what_each_status_means(capsys):
    with pytest.raises(SystemExit):
        check("--help")
    out = capsys.readouterr().out
    for status in ("0    all", "1    a check", "2    it could not", "3    nothing failed"):
        assert f"\n  {status}" in out


def test_wrong_usage_is_two(capsys):
    with pytest.raises(SystemExit) as stopped:
        check("factories:right", "--only", "rest")
    assert stopped.value.code == 2
    assert "there is no check 'rest'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("576", [576]),
        ("1,576", [1, 576]),
        ("1x576", [1, 576]),
        ("(1, 576)", [1, 576]),
        ("[3, 41]", [3, 41]),
        ("(576,)", [576]),
        (" 3 X 41 ", [3, 41]),
    ],
)
def test_the_shape_of_a_frame_is_read_as_people_write_it(text, shape):
    assert _arguments.frame(text) == shape


@pytest.mark.parametrize(
    ("option", "text", "says"),
    [
        *(
            ("--frame", text, "expected sizes above 0, such as 576, 1,80 or 1x80")
            for text in ("", "abc", "0", "1,-3", "1.5", "1,,2", "99999999,99999999", "9" * 5000)
        ),
        *(("--set", text, "expected IN=NUMBER") for text in ("sr", "sr=", "=1", "sr=fast")),
        *(("--state", text, "expected IN:OUT") for text in ("h", ":hn", "h:", "")),
        *(("--history", text, "expected IN=N") for text in ("64", "x=", "=64", "x=-1", "x=1.5")),
        *(("--shape", text, "expected ") for text in ("1,576", "=1,576", "x=", "x=1,-3")),
    ],
)
def test_an_option_that_cannot_be_read_says_what_is_expected(option, text, says, capsys):
    with pytest.raises(SystemExit) as stopped:
        check("factories:right", f"{option}={text}")
    assert stopped.value.code == 2
    err = capsys.readouterr().err
    assert says in err
    assert "invalid literal" not in err


def test_options_of_onnx_models_are_read():
    assert _arguments.state("h:hn") == ("h", "hn")
    assert _arguments.state("a:0:b:0") == ("a:0", "b:0")
    assert _arguments.constant("a=b=3")[0] == "a=b"
    assert _arguments.constant("on=true") == ("on", True)
    assert _arguments.constant("x=1.5")[1] == np.float32(1.5)
    assert _arguments.history("a=b=64") == ("a=b", 64)
    assert _arguments.shape("input=1,576") == ("input", (1, 576))


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

@pytest.mark.parametrize("name", ["reset", "determinism", "drift", "chunks"])
def test_each(lstm_check, name):
    lstm_check(Numpy(ForgetsToResetC), only=[name])

def test_nothing_to_compare_with(lstm_check):
    lstm_check(Numpy(), only=["agreement", "reset"])

def test_on_purpose(lstm_check):
    assert lstm_check(Numpy(), reference=None, only=["agreement", "reset"]).passed

class Doubtful(Numpy):
    remarks = ("it may be another one",)

def test_warned(lstm_check):
    assert lstm_check(Doubtful(), only=["reset"]).passed
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
    passed = {"test_right", "test_ours", "test_each[determinism]", "test_on_purpose"}
    passed.add("test_warned")
    assert "CheckWarning: numpy: it may be another one" in text
    for name in ("test_nothing_to_compare_with", "test_each[drift]"):
        assert f"FAILED test_plugin.py::{name}" in text
    assert "INCOMPLETE; agreement was skipped: no reference was given" in text
    assert "SKIPPED [1] test_plugin.py" in text  # chunks, which this target does not have
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
