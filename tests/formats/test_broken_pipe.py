"""`lstm-fast ... | head -1`: nobody reads on, so it ends without a word, as other programs do."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from framework_runs import GOLDEN

SHARDED = str(GOLDEN / "safetensors/sharded/model.safetensors.index.json")
COMMANDS = [
    ["inspect", SHARDED],
    ["inspect", "--json", SHARDED],
    ["info"],
    ["info", "--json"],
]


def run(arguments, lines):
    """Run the command line and close the pipe after some lines; return status and stderr."""
    command = [sys.executable, "-m", "lstm_fast", *arguments]
    read_end, write_end = os.pipe()
    with subprocess.Popen(command, stdout=write_end, stderr=subprocess.PIPE, text=True) as process:
        os.close(write_end)
        with os.fdopen(read_end, "rb") as output:
            for _ in range(lines):
                output.readline()
        _, errors = process.communicate(timeout=120)
    return process.returncode, errors


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_pipe_that_is_closed_ends_it_quietly(arguments):
    assert run(arguments, 0) == (141, "")


@pytest.mark.parametrize("arguments", [["--help"], ["check", "--help"]], ids=" ".join)
def test_help_that_nobody_reads_is_no_error(arguments):
    assert run(arguments, 0) == (0, "")


def test_what_is_read_to_its_end_is_no_error():
    assert run(["inspect", SHARDED], 1000) == (0, "")


def test_head(tmp_path):
    """Through a real shell and `head -1`, with output that is longer than a pipe holds."""
    script = tmp_path / "long.py"
    script.write_text(
        "import sys\n"
        "from lstm_fast import cli\n"
        "from lstm_fast.formats import commands\n"
        "commands._lines = lambda found, width: ['x' * 99] * 10_000\n"
        f"sys.exit(cli.main(['inspect', {SHARDED!r}]))\n"
    )
    shell = f"{sys.executable} {script} | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", shell], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] == "141"


def test_another_broken_pipe_is_said(tmp_path):
    """One to a program that is being checked, say: only a closed stdout is not an error."""
    script = tmp_path / "fails.py"
    script.write_text(
        "import sys\n"
        "from lstm_fast import cli\n"
        "def fails(options):\n"
        "    raise BrokenPipeError('of another program')\n"
        "cli._info = fails\n"
        "sys.exit(cli.main(['info']))\n"
    )
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (2, "lstm-fast: of another program\n")
