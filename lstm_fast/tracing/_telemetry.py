"""Where spans and metrics go, and what all of a model's have in common. Only this imports OTel."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from .. import __version__
from .._arguments import is_mapping
from .._extras import install
from .._process import bookkeeping
from ..lstm import LSTM

try:
    from opentelemetry import metrics, trace
    from opentelemetry.trace import Status, StatusCode
except ImportError as error:
    raise ImportError(
        f"lstm_fast.tracing needs the OpenTelemetry API ({error}): {install('otel')}"
    ) from error

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.metrics import Histogram, Meter
    from opentelemetry.trace import Span, Tracer

    from ..model import Model
    from ..program import Tensor

Value = str | bool | int | float
Attributes = dict[str, Value]

SCOPE = "lstm_fast"
SECONDS = [float(f"{m}e{e}") for e in range(-7, -1) for m in (1, 2, 5)]  # 0.1 us to 50 ms
SHARES = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999]
SHARED = ("lstm.model.name", "lstm.model.sha256", "lstm.backend", "lstm.isa", "lstm.weight_dtype")


class Instruments:
    """The two histograms."""

    def __init__(self, meter: Meter) -> None:
        self.duration = _histogram(
            meter, "lstm.step.duration", "s", "Time that a step took; a sample", SECONDS
        )
        self.confidence = _histogram(
            meter, "lstm.prediction.confidence", "1", "Confidence of the prediction", SHARES
        )


def _histogram(meter: Meter, name: str, unit: str, text: str, buckets: list[float]) -> Histogram:
    try:
        return meter.create_histogram(name, unit, text, explicit_bucket_boundaries_advisory=buckets)
    except TypeError:  # an API that takes no advice yet: give the buckets in a View, then
        return meter.create_histogram(name, unit, text)


# An instrument is made once per meter, since some SDKs warn of a second one; and a default meter
# once, since the API keeps every proxy that it hands out before an SDK is set.
_instruments: WeakKeyDictionary[Meter, Instruments] = WeakKeyDictionary()


@lru_cache(None)
def _default_meter() -> Meter:
    return metrics.get_meter(SCOPE, __version__)


class Telemetry:
    """A tracer, the histograms, and the attributes that describe an LSTM or a whole model."""

    def __init__(
        self, model: Model, model_name: str, tracer: Tracer | None, meter: Meter | None
    ) -> None:
        if not isinstance(model_name, str) or not model_name:
            raise ValueError(f"model_name must be a name for the model, found {model_name!r}")
        self.tracer = trace.get_tracer(SCOPE, __version__) if tracer is None else tracer
        with bookkeeping:
            meter = _default_meter() if meter is None else meter
            if meter not in _instruments:
                _instruments[meter] = Instruments(meter)
            self.instruments = _instruments[meter]
        self.attributes = describe(model, model_name)
        self.shared = {k: self.attributes[k] for k in SHARED if k in self.attributes}

    def start(self, name: str, attributes: Attributes, context: Context | None) -> Span:
        """Start a span in context, None for the caller's; it does not become the current one."""
        return self.tracer.start_span(name, context, attributes={**self.attributes, **attributes})


def describe(model: Model, model_name: str) -> Attributes:
    """Return the attributes of an LSTM or a whole model."""
    attributes: Attributes = {
        "lstm.model.name": model_name,
        "lstm.model.sha256": model.fingerprint,
        "lstm.backend": model.backend,
        "lstm.weight_dtype": _types(model.weight_dtype),
    }
    if isinstance(model, LSTM):
        attributes["lstm.input_size"] = model.input_size
        attributes["lstm.hidden_size"] = model.hidden_size
        attributes["lstm.layers"] = model.num_layers
    else:
        attributes["lstm.model.inputs"] = _listed(model.inputs)
        attributes["lstm.model.outputs"] = _listed(model.outputs)
        attributes["lstm.model.operations"] = len(model.program.ops)
    if model.isa is not None:
        attributes["lstm.isa"] = model.isa
    return attributes


def _types(weight_dtype: str | Mapping[int, str]) -> str:
    """Return how weights are stored in one string: "int8", or "0:int8,3:float16"."""
    if isinstance(weight_dtype, str):
        return weight_dtype
    return ",".join(f"{number}:{name}" for number, name in weight_dtype.items())


def _listed(tensors: Mapping[str, Tensor]) -> str:
    """Return names, shapes and kinds: "x (40,), token () int64"."""
    return ", ".join(
        f"{name} {one.shape}" + ("" if one.kind == "float32" else f" {one.kind}")
        for name, one in tensors.items()
    )


def frames_in(ys: Any, axis: int) -> int:
    """Return how long an axis is that all outputs have, of one array or of a mapping of them."""
    size: int = (next(iter(ys.values())) if is_mapping(ys) else ys).shape[axis]
    return size


def mark_error(span: Span, error: BaseException) -> None:
    """Say on a span what went wrong, as the semantic conventions do."""
    kind = type(error)
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    span.set_attribute("error.type", module + kind.__qualname__)
    span.set_status(Status(StatusCode.ERROR, str(error)))
    if isinstance(error, Exception):
        span.record_exception(error)
