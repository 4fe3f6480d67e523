"""The agent whose LSTM is a span in its trace."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

pytest.importorskip("opentelemetry.sdk", reason="needs opentelemetry-sdk")

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

EXAMPLES = Path(__file__).parents[2] / "examples"
sys.path.append(str(EXAMPLES))

agent = import_module("claims_agent")

LSTM_SPAN = "lstm claim-intent"


@pytest.fixture
def exporter():
    return InMemorySpanExporter()


@pytest.fixture
def provider(exporter):
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider


def lineage(spans, span):
    """The names from a span up to its root."""
    by_id = {s.context.span_id: s for s in spans}
    names = [span.name]
    while span.parent is not None:
        span = by_id[span.parent.span_id]
        names.append(span.name)
    return names


def test_the_lstm_is_a_span_of_its_agent(exporter, provider):
    claims = [agent.make_claim(n, 34) for n in range(3)]
    agent.run_agent(claims, provider)
    spans = exporter.get_finished_spans()
    ours = [span for span in spans if span.name == LSTM_SPAN]
    assert len(ours) == 6
    assert len({span.context.trace_id for span in ours}) == 6
    for number, span in enumerate(ours):
        assert lineage(spans, span)[1:] == [
            "execute_tool classify_intent",
            "invoke_agent claims",
        ]
        length = (17, 20)[number // 3]
        expected = {
            "session.id": f"claim-{number % 3}",
            "lstm.window.start": (0, 14)[number // 3],
            "lstm.window.length": length,
            "lstm.sequence.length": length,
            "lstm.sequence.cohort": ("part", "full")[number // 3],
            "lstm.state.reset": True,
            "lstm.state.reset_reason": "new window",
            "lstm.state.age_steps": length,
            "lstm.gold.label": claims[number % 3].gold,
        }
        assert expected.items() <= dict(span.attributes).items()


def test_without_the_reset_the_age_tells(exporter, provider, monkeypatch):
    """Negative control: state that is carried from one window to the next shows in the trace."""
    monkeypatch.setattr(agent.tracing.TracedStream, "reset", lambda *_, **__: None)
    agent.run_agent([agent.make_claim(0, 34)], provider)
    ours = [s.attributes for s in exporter.get_finished_spans() if s.name == LSTM_SPAN]
    assert [a["lstm.state.age_steps"] - a["lstm.sequence.length"] for a in ours] == [0, 17]
    assert [a["lstm.state.reset"] for a in ours] == [True, False]


def test_the_classifier_is_better_than_chance():
    """Of 300 claims a third is right by chance, and 9 more or less is a standard deviation."""
    intents, right = agent.Intents(), 0
    for number in range(300):
        claim = agent.make_claim(number, agent.WINDOW)
        y = intents.lstm.stream().run(agent.one_hot(claim.events))[-1]
        right += intents.answer(y).intent == claim.gold
    assert right > 100 + 5 * 8.2


def test_it_prints_the_trees(capsys):
    assert agent.main(["--claims", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("invoke_agent claims") for line in lines) == 4
    assert sum(line.startswith(f"      {LSTM_SPAN}") for line in lines) == 4
    assert sum(" . lstm.prediction.label = " in line for line in lines) == 4
    assert lines[-1].endswith("of 4 intents are right")


def run_with_blocked(modules, *arguments):
    code = (
        f"import sys, runpy\nfor m in {modules}: sys.modules[m] = None\n"
        f"sys.argv[1:] = {[*arguments]}\n"
        f"runpy.run_path({str(EXAMPLES / 'claims_agent.py')!r}, run_name='__main__')"
    )
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )


@pytest.mark.parametrize(
    ("module", "arguments", "says"),
    [
        ("opentelemetry", [], "pip install '.[otel]'"),
        ("opentelemetry.sdk", [], "opentelemetry-sdk"),
        ("fi_instrumentation", ["--futureagi"], "pip install traceAI-langchain"),
    ],
)
def test_what_is_missing_is_said(module, arguments, says):
    done = run_with_blocked([module, "traceai_langchain"], *arguments)
    assert done.returncode == 1
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_without_keys_nothing_is_sent(monkeypatch):
    pytest.importorskip("traceai_langchain", reason="needs traceAI-langchain")
    monkeypatch.delenv("FI_API_KEY", raising=False)
    monkeypatch.setenv("FI_SECRET_KEY", "x")
    with pytest.raises(SystemExit, match="set FI_API_KEY, from"):
        agent.main(["--futureagi"])


def test_in_a_chain_it_is_a_child_of_the_chains_span(exporter, provider):
    pytest.importorskip("traceai_langchain", reason="needs traceAI-langchain")
    agent.run_langchain([agent.make_claim(n, 34) for n in range(2)], provider)
    spans = exporter.get_finished_spans()
    ours = [span for span in spans if span.name == LSTM_SPAN]
    assert [span.attributes["session.id"] for span in ours] == ["claim-0", "claim-1"]
    for span in ours:
        assert lineage(spans, span) == [LSTM_SPAN, "classify_intent", "claims agent"]
