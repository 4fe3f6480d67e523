"""How sure a prediction is: a number as it is given, or what a whole model's step returned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .._arguments import is_mapping
from ..lstm import LSTM

if TYPE_CHECKING:
    from ..model import Model


class Confidence:
    """Reads confidences; output: of a Model, which output is one, or None where none is known."""

    __slots__ = ("_known", "output")

    def __init__(self, model: Model, output: str | None) -> None:
        if isinstance(model, LSTM):
            if output is not None:
                raise ValueError(
                    f"confidence is {output!r}, but what an LSTM returns is not a confidence: give "
                    "the number to predict(label, confidence)"
                )
            self.output, self._known = None, ""
            return
        floats = [name for name, one in model.outputs.items() if one.kind == "float32"]
        self._known = ", ".join(map(repr, floats)) or "none"
        if output is not None and output not in floats:
            raise ValueError(
                f"confidence is {output!r}, expected an output of this model that holds floats: "
                f"{self._known}"
            )
        self.output = floats[0] if output is None and len(floats) == 1 else output

    def read(self, given: Any) -> float:
        """Return a confidence: a number; or of the outputs of one step the value, or the largest.

        Raises:
            TypeError: it is not a number, nor what a step returned.
            ValueError: it is a mapping without that output, or it is not said which one it is.
        """
        if is_mapping(given):
            if self.output is None:
                raise ValueError(
                    f"which output is the confidence? Say trace(..., confidence=...): {self._known}"
                )
            if self.output not in given:
                raise ValueError(f"these outputs lack {self.output!r}, the confidence")
            given = given[self.output]
        if isinstance(given, np.ndarray) and given.size:
            given = given.max()
        return float(given)
