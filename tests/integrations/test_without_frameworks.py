"""Where a framework is missing, the rest works, and an error says what to install."""

from __future__ import annotations

import pytest

from processes import python


@pytest.mark.parametrize(
    ("module", "hidden", "package"),
    [("pipecat", "pipecat", "pipecat-ai"), ("livekit", "livekit", "livekit-agents")],
)
def test_an_import_names_the_extra(module, hidden, package):
    done = python(f"import lstm_fast.integrations.{module}", hidden=[hidden])
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"ImportError: {package} is missing: pip install '{package}>=")
    assert f"the extra '{module}'" in last


def test_the_package_imports_no_framework():
    done = python(
        """
        import lstm_fast.integrations, lstm_fast.vad
        print(sorted({name.partition(".")[0] for name in sys.modules} & {"pipecat", "livekit"}))
        """
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
