"""What to call instead of a class that is not made by calling it, in the caller's own values."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ._weights import Weights

SIZES = ("input_size", "hidden_size", "num_layers")
OPTIONS = ("bias", "proj_size", "bidirectional")  # that LSTM.random takes, as torch.nn.LSTM does


def of_lstm(args: tuple[Any, ...], options: Mapping[str, Any]) -> str:
    """Say what to call instead of LSTM(*args, **options)."""
    given = _call("LSTM", args, options)
    first = args[0] if args else None
    if isinstance(first, (str, os.PathLike)):
        return f"{given} reads no file: call lstm_fast.load({os.fspath(first)!r})"
    if isinstance(first, Mapping):
        return f"{given} reads no weights: call LSTM.from_state_dict(weights)"
    if isinstance(first, Weights):
        return f"{given} reads no weights: call LSTM.from_weights(weights)"
    if callable(getattr(first, "state_dict", None)):
        name = type(first).__name__.lower()
        return f"{given} takes no module: call LSTM.from_state_dict({name}.state_dict())"
    named = [f"{name}={_short(options[name])}" for name in OPTIONS if options.get(name)]
    sizes = dict(zip(SIZES, args, strict=False))
    sizes |= {name: options[name] for name in SIZES if name in options}
    random = ", ".join([*map(_short, sizes.values()), *named]) or "input_size, hidden_size"
    return (
        f"{given} has no weights: call lstm_fast.load(path) or LSTM.from_state_dict(weights) for "
        f"yours, or LSTM.random({random}) for random ones"
    )


def of_session(name: str, method: str, args: tuple[Any, ...], options: Mapping[str, Any]) -> str:
    """Say what to call instead of Stream(lstm) or StreamPool(lstm, 100): a method of the LSTM."""
    lstm = options.get("lstm", args[0] if args else None)
    others = {key: value for key, value in options.items() if key != "lstm"}
    instead = _call(f"lstm.{method}", args[1:], others)
    if method == "pool" and not (args[1:] or others):
        instead = "lstm.pool(capacity)"
    whose = f", where lstm is {lstm!r}" if hasattr(lstm, method) else ""
    return f"a {name} is made by its LSTM: call {instead}{whose}"


def _call(name: str, args: tuple[Any, ...], options: Mapping[str, Any]) -> str:
    parts = [*map(_short, args), *(f"{key}={_short(value)}" for key, value in options.items())]
    return f"{name}({', '.join(parts)})"


def _short(value: Any) -> str:
    """Write a value as in code, or ... where that would be long."""
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    text = repr(value) if value is None or isinstance(value, (int, float, str)) else "..."
    return text if len(text) <= 80 else "..."
