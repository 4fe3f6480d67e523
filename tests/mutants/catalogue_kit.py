"""Mistakes in tracing, evaluating and checking whole models."""

from .mutant import Mutant

WHOLE = "tests/checks/test_whole_models.py"
VADS = "tests/checks/test_check_vads.py"
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
    Mutant(
        "checks: a VAD hears noise, in which hardly a mistake shows",
        "lstm_fast/checks/speech.py",
        "sound += np.interp(np.arange(count), at, loud) * wave.imag",
        "sound += 0 * wave.imag",
        VADS + "::test_frames_are_heard_as_speech",
    ),
    Mutant(
        "checks: of a VAD's session everything counts as left by a reset, or nothing",
        "lstm_fast/checks/_vads/sessions.py",
        "stream.state = {**start, **{name: kept[name] for name in names}}",
        "stream.state = kept if names else start",
        VADS + "::test_what_a_reset_leaves_is_named -k KeepsContext",
    ),
    Mutant(
        "checks: VADs that take turns have nothing in common",
        "lstm_fast/checks/_vads/sessions.py",
        "own[1 - turn % 2] = {**other, **{name: own[turn % 2][name] for name in names}}",
        "own[1 - turn % 2] = other",
        VADS + "::test_what_sessions_share_is_named -k context",
    ),
    Mutant(
        "checks: any VAD's integers are taken to be divided by 32767",
        "lstm_fast/checks/_vads/explaining.py",
        "if not (fits and NEARER * apart[1] < apart[0]):",
        "if not fits:",
        VADS + "::test_32767_is_a_warning_and_not_a_failure",
    ),
    Mutant(
        "checks: a VAD's mistake is named although noise is beside it",
        "lstm_fast/checks/_vads/mistakes.py",
        "                if not _fits(ys, made):\n                    return False\n",
        "",
        VADS + "::test_what_comes_nearest_is_told",
    ),
    Mutant(
        "checks: what a VAD says before its first whole chunk counts",
        "lstm_fast/checks/adapters/vad.py",
        "if self._taken < target.own_chunk:",
        "if False:",
        VADS + "::test_chunks_and_rates_that_are_wrong_are_named -k filled_up",
    ),
    Mutant(
        "checks: a VAD of smaller chunks has to answer every one",
        "lstm_fast/checks/adapters/vad.py",
        "        if y is not None:\n",
        "        if True:\n",
        VADS + "::test_none_is_the_last_probability_again",
    ),
    Mutant(
        "checks: the end of a recording is not looked at",
        "lstm_fast/checks/_vads/explaining.py",
        "if abs(float(inside) - float(last)) > ROUNDING:",
        "if False:",
        VADS + "::test_a_function_of_whole_recordings",
    ),
]
