"""Mistakes in Silero VAD as a model, and in what the command line says of whole models."""

from .mutant import Mutant

SILERO = "tests/vad/test_silero_model.py"
COSTS = "tests/models/test_program_costs.py"
COMMANDS = "tests/formats/test_whole_models_cli.py"

THREADS = "tests/vad/test_vad_threads.py"
EVENTS = "tests/vad/test_vad_events.py"

VAD = [
    Mutant(
        "speech: a child goes on with the parts of a session that another thread was in",
        "lstm_fast/vad/_session.py",
        "            raise ForkedError(FORKED)\n",
        "            return\n",
        THREADS + "::test_audio_that_a_fork_has_cut_out_of_a_stream_is_said",
    ),
    Mutant(
        "speech: a child goes on with the parts of a pool's session",
        "lstm_fast/vad/_session_pool.py",
        "if is_left and not anew and not goes_on:",
        "if is_left and not anew and False:",
        THREADS + "::test_audio_that_a_fork_has_cut_out_of_a_pool_is_said",
    ),
    Mutant(
        "speech: a child is refused what its parent only read",
        "lstm_fast/vad/_session_pool.py",
        "other.process != mine.process and other.changes\n",
        "other.process != mine.process\n",
        THREADS + "::test_a_fork_in_the_middle_of_reading_leaves_all_of_a_session",
    ),
    Mutant(
        "events: a snapshot of another rate is restored",
        "lstm_fast/vad/_events.py",
        "if (rate, size) != (self._rate, self._size):",
        "if size != self._size:",
        EVENTS + "::test_a_snapshot_is_of_a_rate_and_a_size",
    ),
    Mutant(
        "events: any state is restored",
        "lstm_fast/vad/_events.py",
        "if again != data or not self._can_be(*fields):",
        "if again != data:",
        EVENTS + "::test_no_session_comes_to_such_a_state",
    ),
    Mutant(
        "Silero: version 4 gets context, too",
        "lstm_fast/vad/_silero.py",
        "size // CONTEXT if layout.has_context else 0",
        "size // CONTEXT",
        SILERO + "::test_version_4_takes_no_context",
    ),
    Mutant(
        "Silero: a file for 16 kHz is taken for 8 kHz",
        "lstm_fast/vad/_silero.py",
        "windows[0] == int(WINDOW_SECONDS * sampling_rate)",
        "True",
        SILERO + "::test_a_file_for_16_khz_says_so",
    ),
    Mutant(
        "Silero: the output has the name that the file gives it",
        "lstm_fast/vad/_silero.py",
        '    if output.name == "output":\n',
        "    if True:\n",
        SILERO + "::test_every_file_is_what_onnxruntime_makes_of_it -k sequence",
    ),
    Mutant(
        "costs: taps in the padding before x are counted",
        "lstm_fast/_program_costs.py",
        "first_inside = max(0, -(offset // stride))",
        "first_inside = 0",
        COSTS + "::test_convolutions",
    ),
    Mutant(
        "costs: taps in the padding behind x are counted",
        "lstm_fast/_program_costs.py",
        "last_inside = min(last, (size - 1 - offset) // stride)",
        "last_inside = last",
        COSTS + "::test_convolutions",
    ),
    Mutant(
        "costs: weights that two operations have are counted twice",
        "lstm_fast/_program_costs.py",
        " - counted\n",
        "\n",
        COSTS + "::test_weights_that_two_operations_have_are_counted_once",
    ),
    Mutant(
        "convert: a file that is there is overwritten",
        "lstm_fast/formats/commands.py",
        "        if not options.force:\n",
        "        if False:\n",
        COMMANDS + "::test_convert_overwrites_only_when_told",
    ),
    Mutant(
        "inspect: an operation that makes the next state is not said to",
        "lstm_fast/formats/_program_text.py",
        "if one.next in op.outputs",
        "if one.tensor in op.outputs",
        COMMANDS + "::test_the_same_as_json",
    ),
]
