"""What a report says of each failure: which mistake explains it, or what sessions share."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeAlias

from ._explain import explain
from ._sharing import sharing
from ._vads.explaining import Explainer as VadExplainer
from ._vads.references import VadReference
from ._whole_mistakes import explain_whole
from .options import Options
from .references import NoReference, Reference
from .results import CheckResult
from .target import Target
from .whole_references import WholeReference

__all__ = ["SHARING", "Explainer", "Wanted"]

Wanted: TypeAlias = Reference | WholeReference | NoReference
DIAGNOSED = ("agreement", "reset", "drift")
SHARING = (*DIAGNOSED, "determinism", "isolation", "chunks", "nan")


class Explainer:
    """Explains the failures of one target; each is looked for once, for all that fail."""

    def __init__(self, target: Target, wanted: Wanted, options: Options) -> None:
        self._target, self._wanted, self._options = target, wanted, options
        self._explained: tuple[tuple[dict[str, Any], ...], str] | None = None
        self._shared: str | None = None  # it explains before all numeric mistakes
        self._of_vad: VadExplainer | None = None
        if isinstance(wanted, VadReference):
            vad: Any = target
            self._of_vad = VadExplainer(vad, wanted, options)

    def __call__(self, result: CheckResult) -> CheckResult:
        """Return a failure with what explains it."""
        name = result.name
        if name not in SHARING:
            return result
        if self._of_vad is not None and (told := self._of_vad(result)).diagnosis:
            return told
        is_new = name != "drift" or self._explained is None  # after agreement nothing more
        if self._shared is None:
            self._shared = sharing(self._target, self._options)
        if self._shared:
            return replace(result, note=self._shared)
        if self._of_vad is not None:
            return self._of_vad(result)
        if name not in DIAGNOSED or not is_new or isinstance(self._wanted, NoReference):
            return result
        self._explained = self._explained or self._explain(self._wanted)
        return replace(result, diagnosis=self._explained[0], note=self._explained[1])

    def _explain(
        self, wanted: Reference | WholeReference
    ) -> tuple[tuple[dict[str, Any], ...], str]:
        if isinstance(wanted, WholeReference):
            return explain_whole(self._target, wanted)
        return explain(self._target, wanted)
