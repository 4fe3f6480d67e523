"""An insurance agent whose LSTM is a span inside the agent's own trace.

A customer's claim is a series of events (a photo sent, the status looked up, ...). Whenever the
customer writes, the agent asks an LSTM what they want, from the last 20 events, and answers through
a tool. The agent makes OpenTelemetry spans of its own; `lstm_fast.tracing` adds one for each window
that the LSTM reads, as a child of the span that is current.

    python examples/claims_agent.py              # print the spans as trees
    python examples/claims_agent.py --futureagi  # send them to Future AGI, see `run_langchain`

Both need `pip install '.[otel]' opentelemetry-sdk`; the second also `traceAI-langchain`,
which brings `fi-instrumentation-otel`, and FI_API_KEY and FI_SECRET_KEY in the environment.

The LSTM has random weights with a fixed seed, and on top of it a softmax that is trained at the
start, in a fraction of a second: enough to be right most of the time, and sometimes not.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lstm_fast import LSTM

try:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from lstm_fast import tracing
except ImportError as error:
    sys.exit(f"{error}\nThis example also needs: pip install '.[otel]' opentelemetry-sdk")

Float32 = NDArray[np.float32]

WINDOW = 20  # events that the LSTM sees
EVENTS = ("login", "message", "wait", "photo", "invoice", "status", "call", "cancel", "rating")
INTENTS = {  # how often each of the EVENTS happens to a customer who wants that
    "report damage": (4, 4, 4, 3, 2, 1, 1, 0.2, 0.2),
    "ask for status": (4, 4, 4, 1, 1, 3, 2, 0.2, 0.2),
    "complain": (4, 4, 4, 0.5, 0.5, 2, 3, 1, 1),
}
TOOLS = {
    "report damage": "open_claim",
    "ask for status": "look_up_claim",
    "complain": "call_a_human",
}


class Claim(NamedTuple):
    """What happened, and what the customer wants in truth."""

    name: str
    events: list[int]  # indices into EVENTS
    gold: str


class Answer(NamedTuple):
    """What the LSTM says of a window."""

    intent: str
    confidence: float


def make_claim(number: int, length: int) -> Claim:
    """Return a claim; the same number always gives the same."""
    rng = np.random.default_rng([7, number])
    gold = [*INTENTS][rng.integers(len(INTENTS))]
    rates = np.array(INTENTS[gold])
    events = rng.choice(len(EVENTS), length, p=rates / rates.sum()).tolist()
    return Claim(f"claim-{number}", events, gold)


def one_hot(events: Sequence[int]) -> Float32:
    """Return frames (T, I) for T events."""
    return np.eye(len(EVENTS), dtype=np.float32)[[*events]]


def softmax(scores: NDArray[Any]) -> NDArray[np.float64]:
    """Return probabilities along the last axis."""
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True))


class Intents:
    """The classifier: one LSTM for all customers, and the softmax on its last output."""

    def __init__(self, examples: int = 1500) -> None:
        self.lstm = LSTM.random(len(EVENTS), 48, seed=3)
        claims = [make_claim(10_000 + n, WINDOW) for n in range(examples)]
        ys, _ = self.lstm(np.stack([one_hot(claim.events) for claim in claims]))
        features = ys[:, -1].astype(np.float64)
        self._mean, self._scale = features.mean(axis=0), features.std(axis=0)
        self._weights = np.zeros((features.shape[1] + 1, len(INTENTS)))
        inputs = self._inputs(features)
        targets = np.eye(len(INTENTS))[[[*INTENTS].index(claim.gold) for claim in claims]]
        for _ in range(300):  # gradient descent on the cross entropy, with weight decay
            error = softmax(inputs @ self._weights) - targets
            self._weights -= 0.3 * (inputs.T @ error / examples + 1e-3 * self._weights)

    def _inputs(self, features: NDArray[Any]) -> NDArray[np.float64]:
        scaled = (features - self._mean) / self._scale
        return np.concatenate([scaled, np.ones((*features.shape[:-1], 1))], axis=-1)

    def answer(self, y: Float32) -> Answer:
        """Return what an output (H,) of the LSTM means."""
        shares = softmax(self._inputs(y) @ self._weights)
        best = int(shares.argmax())
        return Answer([*INTENTS][best], float(shares[best]))


class Customer:
    """One customer's session: what has happened, and a traced stream that reads the end of it."""

    def __init__(self, intents: Intents, claim: Claim, provider: trace.TracerProvider) -> None:
        self.claim = claim
        self.events: list[int] = []
        self._intents = intents
        self._stream = tracing.trace(
            intents.lstm.stream(),
            model_name="claim-intent",
            session_id=claim.name,
            span_name="lstm claim-intent",
            tracer=provider.get_tracer("claims"),
        )

    def intent(self) -> Answer:
        """Read the last WINDOW events, from a state that knows nothing of those before."""
        start = max(0, len(self.events) - WINDOW)
        window = one_hot(self.events[start:])
        self._stream.reset(reason="new window")
        cohort = "full" if len(window) == WINDOW else "part"
        with self._stream.segment(cohort=cohort, window_start=start) as segment:
            for x in window:
                y = self._stream.step(x)
            answer = self._intents.answer(y)
            segment.predict(*answer, gold=self.claim.gold)
        return answer


def respond(customer: Customer, answer: Answer) -> str:
    """Stand for the tools, which would reach other systems."""
    return f"{TOOLS[answer.intent]}({customer.claim.name})"


def run_agent(claims: Sequence[Claim], provider: trace.TracerProvider, turns: int = 2) -> None:
    """Serve customers who take turns to write, in spans of an agent that is written by hand."""
    tracer, intents = provider.get_tracer("agent"), Intents()
    customers = [Customer(intents, claim, provider) for claim in claims]
    for turn in range(1, turns + 1):
        for customer in customers:
            events = customer.claim.events
            customer.events = events[: len(events) * turn // turns]
            with tracer.start_as_current_span("invoke_agent claims"):
                with tracer.start_as_current_span("execute_tool classify_intent"):
                    answer = customer.intent()
                with tracer.start_as_current_span(f"execute_tool {TOOLS[answer.intent]}"):
                    respond(customer, answer)


def run_langchain(claims: Sequence[Claim], provider: trace.TracerProvider) -> None:
    """Serve customers by a LangChain chain whose spans come from `traceAI-langchain`.

    Its spans are not made current, since callbacks have no safe place to undo that; so the one that
    is running is asked for, and `use_span` makes it the parent of the LSTM's.
    """
    from langchain_core.runnables import RunnableLambda  # noqa: PLC0415 (optional, and slow)
    from traceai_langchain import LangChainInstrumentor, get_current_span  # noqa: PLC0415

    intents = Intents()

    def classify(customer: Customer) -> tuple[Customer, Answer]:
        running = get_current_span()
        with trace.use_span(trace.INVALID_SPAN if running is None else running):
            return customer, customer.intent()

    def act(found: tuple[Customer, Answer]) -> str:
        return respond(*found)

    instrumentor = LangChainInstrumentor()
    instrumentor.instrument(tracer_provider=provider)
    try:
        chain = RunnableLambda(classify, name="classify_intent") | RunnableLambda(act, name="act")
        for claim in claims:
            customer = Customer(intents, claim, provider)
            customer.events = claim.events
            chain.invoke(customer, {"run_name": "claims agent"})
    finally:
        instrumentor.uninstrument()


def register_futureagi() -> TracerProvider:
    """Return a provider that sends to Future AGI, or leave with what is missing."""
    try:
        import traceai_langchain  # noqa: F401, PLC0415
        from fi_instrumentation import register  # noqa: PLC0415
        from fi_instrumentation.fi_types import ProjectType  # noqa: PLC0415
    except ImportError as error:
        sys.exit(f"--futureagi: {error}\nIt needs: pip install traceAI-langchain")
    if missing := [name for name in ("FI_API_KEY", "FI_SECRET_KEY") if name not in os.environ]:
        sys.exit(f"--futureagi: set {' and '.join(missing)}, from your Future AGI account")
    provider: TracerProvider = register(
        project_name="claims-agent", project_type=ProjectType.OBSERVE, verbose=False
    )
    return provider


def print_trees(spans: Sequence[ReadableSpan]) -> None:
    """Print spans under their parents, in the order in which they began, with what they carry."""
    children: dict[int | None, list[ReadableSpan]] = {}
    for span in sorted(spans, key=lambda span: span.start_time or 0):
        children.setdefault(span.parent.span_id if span.parent else None, []).append(span)

    def put(span: ReadableSpan, depth: int) -> None:
        took = ((span.end_time or 0) - (span.start_time or 0)) / 1e6
        print(f"{'   ' * depth}{span.name}  ({took:.2f} ms)")
        for name, value in (span.attributes or {}).items():
            shown = f"{value * 1e6:.2f} us" if "step.duration" in name else value
            print(f"{'   ' * depth} . {name} = {shown}")
        for child in children.get(span.context.span_id, []):
            put(child, depth + 1)

    for root in children.get(None, []):
        put(root, 0)
        print()


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--claims", type=int, default=2, metavar="N", help="(%(default)s)")
    parser.add_argument("--futureagi", action="store_true", help="send the spans to Future AGI")
    options = parser.parse_args(arguments)
    claims = [make_claim(number, 34) for number in range(options.claims)]
    if options.futureagi:
        provider = register_futureagi()
        run_langchain(claims, provider)
        provider.force_flush()
        print(f"Sent the traces of {len(claims)} claims")
        return 0
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    run_agent(claims, provider)
    spans = exporter.get_finished_spans()
    print_trees(spans)
    answers = [span.attributes for span in spans if span.attributes]
    right = sum(a["lstm.prediction.label"] == a["lstm.gold.label"] for a in answers)
    print(f"{right} of {len(answers)} intents are right")
    return 0


if __name__ == "__main__":
    sys.exit(main())
