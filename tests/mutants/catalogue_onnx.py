"""Mistakes in what ONNX graphs become as programs."""

from .mutant import Mutant

ONNX = "lstm_fast/formats/onnx/_program"
INPUTS = "tests/models/test_onnx_program_inputs.py"
OPERATORS = "tests/models/test_onnx_operators.py"
PLANES = "tests/models/test_onnx_planes.py"
PROGRAMS = "tests/models/test_onnx_programs.py"
STATES = "tests/models/test_onnx_program_states.py"
STARTS = "tests/models/test_onnx_starts.py"
TIME_AXES = "tests/models/test_onnx_time_axes.py"
CAUSAL = "tests/models/test_causal_streams.py"
NOT_CAUSAL = "tests/models/test_causal_refusals.py"
TIME_SAID = "tests/models/test_onnx_time_axis_said.py"

ONNX_PROGRAMS = [
    Mutant(
        "ONNX programs: a GRU has its gates in ONNX's order",
        "lstm_fast/formats/gates.py",
        '"onnx": "zrn"',
        '"onnx": "rzn"',
        PROGRAMS + "::test_gru",
    ),
    Mutant(
        "ONNX programs: an LSTM of several frames starts each from the first state",
        ONNX + "_recurrent.py",
        "        y, h, c = builder.emit_all(",
        "        y, *_ = builder.emit_all(",
        PROGRAMS + "::test_a_fixed_time_axis_is_so_many_frames_a_step",
    ),
    Mutant(
        "ONNX programs: what works along a free time axis is not noticed",
        ONNX + "_builder.py",
        "        self.work.along += sizes\n",
        "        pass\n",
        INPUTS + "::test_a_time_axis_is_one_frame_where_each_stands_alone",
    ),
    Mutant(
        "ONNX programs: a slice forgets its steps",
        ONNX + "_movement.py",
        "        steps=tuple(one.step for one in ranges[skip:]),\n",
        "        steps=tuple(1 for one in ranges[skip:]),\n",
        OPERATORS,
    ),
    Mutant(
        "ONNX programs: a batch normalisation is folded without its shift",
        ONNX + "_axes.py",
        "        bias = np.asarray(old * factor + shift)\n",
        "        bias = np.asarray(old * factor + 0 * shift)\n",
        OPERATORS + "::test_batch_normalisation_is_folded_into_a_product",
    ),
    Mutant(
        "ONNX programs: any name makes a state",
        ONNX + "_states.py",
        "        if not WORDS & set(common) or ",
        "        if ",
        INPUTS + "::test_other_names_are_not",
    ),
    Mutant(
        "ONNX programs: SAME_LOWER pads as SAME_UPPER does",
        ONNX + "_products.py",
        'more // 2 if how == "SAME_UPPER" else more - more // 2',
        "more // 2",
        OPERATORS + "::test_convolutions",
    ),
    Mutant(
        "ONNX programs: a pooling may begin in the padding behind its input",
        ONNX + "_pools.py",
        "        count += 1  # one",
        "        count += 1\n    elif rounds_up and rest % stride:\n        count += 1  # one",
        PLANES + "::test_the_largest_of_each_window",
    ),
    Mutant(
        "ONNX programs: the mean of a window counts the padding, always",
        ONNX + "_pools.py",
        "(axis.begin, axis.given_end) if counts_padding else (0, 0)",
        "axis.begin, axis.given_end",
        PLANES + "::test_the_mean_of_each_window",
    ),
    Mutant(
        "ONNX programs: each y of several frames may be the state",
        ONNX + "_states.py",
        "            if last[_node(op)] is not op:\n",
        "            if False:\n",
        STATES + "::test_an_earlier_y_is_no_state",
    ),
    Mutant(
        "ONNX programs: inputs that only other outputs take are checked",
        ONNX + ".py",
        "for name, one in plain.items() if one.tensor in reached}",
        "for name, one in plain.items()}",
        STATES + "::test_an_output_that_nobody_asks_for_may_take_other_inputs",
    ),
    Mutant(
        "ONNX programs: a stride over one frame is not noticed",
        ONNX + "_reach.py",
        "        if window.stride != 1:\n",
        "        if False:\n",
        TIME_AXES + "::test_what_takes_places_or_the_length_is_an_error",
    ),
    Mutant(
        "ONNX programs: numbers that follow from the length are not noticed",
        ONNX + "_frames.py",
        "not in SHAPES and self._depends(one, many)",
        "not in SHAPES and False",
        TIME_AXES + "::test_what_takes_places_or_the_length_is_an_error",
    ),
    Mutant(
        "ONNX programs: the first frame passes for the last",
        ONNX + "_reach.py",
        " or one.behind != many.behind or ",
        " or ",
        TIME_AXES + "::test_what_takes_places_or_the_length_is_an_error",
    ),
    Mutant(
        "ONNX programs: frames are put in another order unseen",
        ONNX + "_frames.py",
        "    return blocks[0] != blocks[1]\n",
        "    return False\n",
        TIME_AXES + "::test_what_takes_places_or_the_length_is_an_error",
    ),
    Mutant(
        "ONNX programs: what only looks shapes up counts as the length",
        ONNX + "_frames.py",
        "not in SHAPES and self._depends(one, many)",
        "is not None and self._depends(one, many)",
        TIME_AXES + "::test_what_only_looks_so_loads",
    ),
    Mutant(
        "ONNX programs: the end of another node is a start",
        ONNX + "_starts.py",
        "        if ends & self._own:\n",
        "        if False:\n",
        STARTS,
    ),
    Mutant(
        "ONNX programs: half a state is enough",
        ONNX + "_starts.py",
        "        if given and rest and not",
        "        if False and not",
        STARTS + "::test_half_a_state_is_refused",
    ),
    Mutant(
        "ONNX programs: a history stays at the frames that it began with",
        ONNX + "_past.py",
        "    starts[axis - skip], ends[axis - skip] = 1, count + 1\n",
        "    starts[axis - skip], ends[axis - skip] = 0, count\n",
        CAUSAL + "::test_each_form_of_padding",
    ),
    Mutant(
        "ONNX programs: every history starts from zeros",
        ONNX + "_past.py",
        "np.ascontiguousarray(before, np.float32)",
        "np.ascontiguousarray(0 * before, np.float32)",
        CAUSAL + "::test_a_padding_with_a_number_starts_from_that",
    ),
    Mutant(
        "ONNX programs: padding behind is not the future",
        ONNX + "_reach.py",
        "min(reach.behind + window.after, LAST)",
        "min(reach.behind, LAST)",
        NOT_CAUSAL + "::test_what_is_no_stream_is_refused",
    ),
    Mutant(
        "ONNX programs: a recurrent layer may get what changes with the last frame",
        ONNX + "_reach.py",
        "        if reach.behind == LAST:\n            return CHANGES",
        "        if False:\n            return CHANGES",
        NOT_CAUSAL + "::test_what_is_no_stream_is_refused",
    ),
    Mutant(
        "ONNX programs: a table of places is taken for a repeated row",
        ONNX + "_lengths.py",
        "        if np.any(rows != np.take(rows, [0], axis=-behind)):\n",
        "        if False:\n",
        TIME_SAID + "::test_what_is_not_the_same_for_each_frame_is_refused",
    ),
]
