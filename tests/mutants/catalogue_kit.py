"""Mistakes in tracing, evaluating and checking whole models."""

from .mutant import Mutant

WHOLE = "tests/checks/test_whole_models.py"
TRACING = "tests/tracing/test_tracing_models.py"

KIT = [
    Mutant(
        "checks: a state by name is not compared",
        "lstm_fast/checks/_compare.py",
        "for name in (a.states or {}).keys() & (b.states or {}).keys():",
        "for name in ():",
        WHOLE + "::test_a_reset_that_forgets_what_no_output_shows",
    ),
    Mutant(
        "checks: whole models may be off by a thousand times what roundings come to",
        "lstm_fast/checks/_moved.py",
        "FACTOR = 16.0",
        "FACTOR = 16000.0",
        WHOLE + "::test_what_is_not_known_is_said_to_be_so",
    ),
    Mutant(
        "checks: single steps are not held to their bound",
        "lstm_fast/checks/_partings.py",
        "if self.in_a_step is None and (ratio > 1).any():",
        "if False:",
        WHOLE + "::test_the_derived_bound_alone_finds_what_is_off",
    ),
    Mutant(
        "checks: drift looks at the first steps alone",
        "lstm_fast/checks/whole_drift.py",
        "while len(ratios) < settings.drift_steps:",
        "while len(ratios) < 64:",
        WHOLE + "::test_errors_that_grow_are_drift",
    ),
    Mutant(
        "checks: integers beyond a table are drawn",
        "lstm_fast/checks/layout.py",
        "return (-min(rows), min(rows)) if rows else SMALL",
        "return (-max(rows) - 1, max(rows)) if rows else SMALL",
        WHOLE + "::test_integers_are_drawn_from_what_is_valid",
    ),
    Mutant(
        "tracing: a run of a whole model counts as one step",
        "lstm_fast/tracing/_stream.py",
        "steps = frames_in(ys, 0)",
        "steps = min(1, frames_in(ys, 0))",
        TRACING + "::test_same_bits_and_how_many_steps",
    ),
    Mutant(
        "evaluate: a sequence goes on where the one before ended",
        "lstm_fast/evaluate/whole_models.py",
        "        self._stream.reset()\n        return",
        "        return",
        "tests/evaluate/test_model_classifiers.py::test_no_sequence_knows_of_another",
    ),
]
