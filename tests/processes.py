"""Code in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap


def python(code, hidden=(), **environment):
    """Run code in a new process that can't import what is hidden; no variable chooses for it."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("LSTM_FAST_")}
    source = f"import sys; sys.modules.update(dict.fromkeys({list(hidden)!r}))\n"
    source += textwrap.dedent(code)
    return subprocess.run(
        [sys.executable, "-c", source],
        env=clean | environment,
        capture_output=True,
        text=True,
        check=False,
    )
