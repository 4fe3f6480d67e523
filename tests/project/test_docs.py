"""README.md and docs/: Python runs, C compiles, commands exist, and links lead somewhere."""

from __future__ import annotations

import importlib
import re
import shlex
import shutil
import subprocess
import traceback
import warnings

import numpy as np
import pytest
from pages import DOCS, LINKED, PAGES, README, ROOT, anchors, blocks, broken_links, name_of
from program_cases import Builder, lstm_layer

from lstm_fast import LSTM, Model, cli, vad
from lstm_fast.checks import Options, runner
from lstm_fast.checks import pytest as checks_pytest

ALL_BLOCKS = [block for path in PAGES for block in blocks(path.read_text("utf-8"), name_of(path))]
lstm_check = checks_pytest.lstm_check  # a fixture
LANGUAGES = {"python", "c", "sh", "cmake", "text"}  # cmake: tests/c/test_c_library.py has the same


# ---- Python: the blocks of a page in order, with what the page leaves to the reader ----


def put_files(folder):
    """model.onnx, and the same LSTM as weights.safetensors."""
    for module in ("onnx", "onnxruntime"):
        pytest.importorskip(module)
    shutil.copy(ROOT / "tests/golden/formats/onnx/torchscript_stack.onnx", folder / "model.onnx")
    files = [str(folder / name) for name in ("model.onnx", "weights.safetensors")]
    assert cli.main(["convert", *files]) == 0
    return {}


def sessions(folder):
    lstm = LSTM.random(4, 8)
    stream, pool = lstm.stream(), lstm.pool(2)
    return {"stream": stream, "pool": pool, "handle": pool.open()}


def detector():
    """A model of frames (4,) whose only output is one probability."""
    build = Builder(0)
    h = lstm_layer(build, build.input("input", (4,)), "lstm", 8)
    build.output("output", build.op("sigmoid", build.op("dense", h, build.weights(1, 8))))
    return Model.from_program(build.program())


def classes(folder):
    for module in ("scipy", "matplotlib", "tqdm", "rich"):
        pytest.importorskip(module)
    rng, labels = np.random.default_rng(0), ["yes", "no"]
    data = [(rng.standard_normal((20 + n, 4)), labels[n % 2]) for n in range(12)]
    head = {"weight": rng.standard_normal((2, 8)), "bias": np.zeros(2)}
    recordings = [(xs, "speech") for xs, _ in data]
    models = {"lstm": LSTM.random(4, 8), "model": detector()}
    return {**models, "labels": labels, "data": data, "recordings": recordings, **head}


def frames(folder):
    pytest.importorskip("opentelemetry")
    lstm, xs = LSTM.random(4, 8), np.zeros((3, 4), np.float32)
    pool = {"pool": lstm.pool(1), "xs": xs[:1]}
    return {"lstm": lstm, "frames": xs, **pool, "model": detector(), "chunk": xs[0]}


def silero(folder):
    pytest.importorskip("onnx")
    try:
        vad.silero_file()
    except FileNotFoundError as error:
        pytest.skip(str(error))
    return {}


def said_of_silero(folder):
    names = silero(folder)
    shutil.copy(vad.silero_file(), folder / "silero_vad.onnx")
    return {**names, "frame": np.zeros(512, np.float32)}


def several(folder):
    put_files(folder)
    return silero(folder)


def frameworks(folder):
    for name in ("pipecat", "livekit.agents"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pipecat imports audioop, which goes with Python 3.13
            pytest.importorskip(name, reason=f"{name} is not installed: make integrations")
            if name == "pipecat":
                importlib.import_module("lstm_fast.integrations.pipecat")
    return {}


def web(folder):
    pytest.importorskip("aiohttp")
    return {}


PREPARED = {
    "docs/checks.md": put_files,
    "docs/evaluation.md": classes,
    "docs/formats.md": put_files,
    "docs/forks.md": sessions,
    "docs/integrations.md": frameworks,
    "docs/models.md": said_of_silero,
    "docs/quickstart.md": several,
    "docs/serve.md": web,
    "docs/service.md": put_files,
    "docs/tracing.md": frames,
    "docs/vad.md": silero,
}


def run(some_blocks, names):
    """Run blocks as one program. Lines in tracebacks are those of the page."""
    for block in some_blocks:
        source = "\n" * (block.line - 1) + block.text
        exec(compile(source, str(ROOT / block.page), "exec"), names)


@pytest.mark.parametrize(
    "page", sorted({block.page for block in ALL_BLOCKS if block.language == "python"})
)
def test_python_runs(page, request, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for module in (runner, checks_pytest):  # the drift over 100,000 steps takes a minute
        monkeypatch.setattr(module, "DEFAULT", Options(drift_steps=500, samples=100))
    names = {"__name__": "page", **PREPARED.get(page, lambda folder: {})(tmp_path)}
    run((b for b in ALL_BLOCKS if (b.page, b.language) == (page, "python")), names)
    tests = [value for name, value in names.items() if name.startswith("test_")]
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", checks_pytest.CheckWarning
        )  # of latencies on a busy machine
        for test in tests:
            test(request.getfixturevalue("lstm_check"))
    assert bool(tests) == (page == "docs/checks.md")


def test_python_that_fails_is_noticed():
    """Negative control, which also shows that the line in the traceback is that of the page."""
    text = "# A page\n\n```python\nx = 1\n```\n\n```python\nassert x == 1\nassert x == 2\n```\n"
    with pytest.raises(AssertionError) as caught:
        run(blocks(text, "docs/page.md"), {})
    assert traceback.extract_tb(caught.value.__traceback__)[-1].lineno == 9


# ---- C: it compiles, with what the page leaves to the reader as arguments ----

ARGUMENTS = {
    "README.md": "size_t I, size_t H, float *weight_ih, float *weight_hh, float *bias, float *x, "
    "float *y",
    "docs/c.md": "size_t I, size_t H, size_t L, const lf_layer_weights *layers, lf_model *model, "
    "const unsigned char *fingerprint, unsigned char *bytes, lf_stream *stream",
}
COMPILE = ["-std=c11", "-fsyntax-only", "-Wall", "-Wextra", "-Wno-unused", "-Werror", "-xc", "-"]


def compile_c(text, arguments):
    program = (
        f"#include <lstm_fast.h>\nvoid page({arguments});\nvoid page({arguments}) {{\n{text}}}\n"
    )
    command = ["cc", f"-I{ROOT / 'csrc'}", *COMPILE]
    done = subprocess.run(command, input=program, capture_output=True, text=True, check=False)
    return done.stderr if done.returncode else ""


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_c_compiles():
    found = [block for block in ALL_BLOCKS if block.language == "c"]
    assert {block.page for block in found} == set(ARGUMENTS)
    assert [compile_c(block.text, ARGUMENTS[block.page]) for block in found] == [""] * len(found)
    wrong = found[0].text.replace("lf_stream_create(model,", "lf_stream_create(")  # the control
    assert "too few arguments" in compile_c(wrong, ARGUMENTS[found[0].page])


# ---- commands: each is one that there is ----


def wrong_command(line):
    """What is wrong with a line for the shell, or ""."""
    program, *words = shlex.split(line, comments=True)
    if program == "lstm-fast":
        try:
            cli._parser().parse_args(words)
        except SystemExit:
            return f"lstm-fast does not take {words}"
    elif program == ".venv/bin/python":
        return "" if (ROOT / words[0]).is_file() else f"there is no {words[0]}"
    elif program == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
        return "" if set(words) <= set(targets) else f"the Makefile does not have {words}"
    elif program == "pip":
        tomllib = importlib.import_module("tomllib")
        settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
        extras = set(re.findall(r"\[(\w+)\]", line))
        missing = extras - set(settings["project"]["optional-dependencies"])
        return f"there is no extra {missing}" if missing else ""
    elif program not in (
        "cmake",
        "cc",
        "export",
        "git",
        "./vad",
    ):  # tests/c/test_c_library.py runs those
        return f"{program} is unknown here"
    return ""


def test_commands_exist():
    pytest.importorskip("tomllib", reason="needs Python 3.11")
    lines = [
        (f"{block.page}:{number}", line)
        for block in ALL_BLOCKS
        if block.language == "sh"
        for number, line in enumerate(block.text.splitlines(), block.line)
    ]
    wrong = [f"{where}: {text}" for where, line in lines if (text := wrong_command(line))]
    assert lines
    assert not wrong
    for text in README.read_text("utf-8"), *(path.read_text("utf-8") for path in DOCS):
        for inline in re.findall(r"`((?:make|pip install) [^`]*)`", text):
            assert not wrong_command(inline), inline


@pytest.mark.parametrize(
    "line",
    [
        "lstm-fast bench --sizes 128",
        "lstm-fast chekc x",
        ".venv/bin/python examples/silero.wav",
        "make tests",
        "pip install '.[onix]'",
        "sudo make demo",
    ],
)
def test_a_command_that_does_not_exist_is_noticed(line, capsys):
    """Negative control."""
    pytest.importorskip("tomllib", reason="needs Python 3.11")
    assert wrong_command(line)


# ---- the pages themselves ----


def test_blocks_have_a_language_that_is_tested():
    assert {block.language for block in ALL_BLOCKS} <= LANGUAGES


@pytest.mark.parametrize("text", ["text\n\n    make demo\n", "```python\nx = 1\n"])
def test_code_that_is_no_block_is_noticed(text):
    """Negative control: code that the tests above would not see."""
    with pytest.raises(ValueError, match=r"page.md:[123]: .*block"):
        blocks(text, "page.md")


@pytest.mark.parametrize("path", LINKED, ids=name_of)
def test_links_lead_somewhere(path):
    assert not broken_links(path.read_text("utf-8"), path)


def test_a_broken_link_is_noticed():
    """Negative control."""
    text = """# A page
## One: two, `three` (four)
## Speed
## Speed
[a](docs/c.md) [b](docs/d.md) [c](#speed-1) [d](#speed-2) [e](#one-two-three-four)
[f](docs/c.md#examples) [g](docs/c.md#exercises) [h](https://example.org/x.md) [i](../x)
`[j](no/file.md)`
"""
    assert anchors(text) == {"a-page", "one-two-three-four", "speed", "speed-1"}
    assert broken_links(text, README) == [
        "README.md:5: docs/d.md: there is no such file",
        "README.md:5: #speed-2: there is no such heading",
        "README.md:6: docs/c.md#exercises: there is no such heading",
        "README.md:6: ../x: there is no such file",
    ]


def test_every_page_is_in_the_table_of_contents():
    contents = (ROOT / "docs/index.md").read_text("utf-8")
    assert [p.name for p in DOCS if p.stem != "index" and f"]({p.name})" not in contents] == []


def test_the_readme_is_short():
    assert len(README.read_text("utf-8").splitlines()) <= 150
