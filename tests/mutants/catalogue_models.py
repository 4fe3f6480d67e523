"""Mistakes in programs, whole models and `.lfm` files."""

from .mutant import Mutant

CHECKS = "tests/models/test_program_checks.py"
OPERATIONS = "tests/models/test_operations.py"
PRODUCTS = "tests/models/test_products.py"
MODELS = "tests/models/test_models.py"
WEIGHT_TYPES = "tests/models/test_model_weight_types.py"
SNAPSHOTS = "tests/models/test_model_snapshots.py"
POOLS = "tests/models/test_model_pools.py"
LFM = "tests/models/test_lfm.py"
UNCHANGED = "tests/models/test_model_objects.py::test_the_program_of_a_model_cannot_be_changed"

PROGRAMS = [
    Mutant(
        "programs: an operation may read what is computed after it",
        "lstm_fast/_program_checks.py",
        "        if number not in self.origin:\n",
        "        if False:\n",
        CHECKS,
    ),
    Mutant(
        "programs: a tensor may be computed twice",
        "lstm_fast/_program_checks.py",
        "        if number in self.origin:\n",
        "        if False:\n",
        CHECKS,
    ),
    Mutant(
        "programs: a constant may share memory with the caller's",
        "lstm_fast/_program_checks.py",
        "copy=None if _never_changes(array) else True)",
        "copy=None)",
        "tests/models/test_model_objects.py::test_a_model_keeps_no_array_of_the_callers",
    ),
    Mutant(
        "models: the attributes of its operations can be changed",
        "lstm_fast/_program_checks.py",
        "ReadOnly(complete(op.code, op.attributes))",
        "dict(complete(op.code, op.attributes))",
        UNCHANGED,
    ),
    Mutant(
        "models: its constants can be replaced",
        "lstm_fast/_program_checks.py",
        "ReadOnly(dict(sorted(self._constants())))",
        "dict(sorted(self._constants()))",
        UNCHANGED,
    ),
    Mutant(
        "programs: the sum of all sizes is not limited",
        "lstm_fast/_program_checks.py",
        "        if (total := sum(sizes)) > MAX_SIZE:\n",
        "        if (total := sum(sizes)) > MAX_SIZE**2:\n",
        CHECKS,
    ),
    Mutant(
        "programs: a pad reflects the edge itself",
        "lstm_fast/_program_shapes.py",
        "max(first, last) >= size:",
        "max(first, last) > size:",
        OPERATIONS,
    ),
    Mutant(
        "conv: taps in padding are multiplied by the nearest value",
        "lstm_fast/reference_operations.py",
        "np.where((at >= 0) & (at < size), at, -1)",
        "np.clip(at, 0, size - 1)",
        PRODUCTS + "::test_conv",
    ),
    Mutant(
        "gru: the reset comes before the product, always",
        "lstm_fast/reference_operations.py",
        '    if attributes["linear_before_reset"]:\n',
        "    if False:\n",
        PRODUCTS + "::test_gru",
    ),
    Mutant(
        "embedding: an index of -N - 1 is not refused",
        "lstm_fast/reference_operations.py",
        "(indices < -rows) | (indices >= rows)",
        "indices >= rows",
        OPERATIONS + "::test_embedding",
    ),
    Mutant(
        "softmax: the largest value is not taken off",
        "lstm_fast/reference_operations.py",
        '    e = np.exp(x - x.max(axis=attributes["axis"], keepdims=True))\n',
        "    e = np.exp(x)\n",
        OPERATIONS + "::test_large_values_do_not_overflow_a_softmax",
    ),
    Mutant(
        "models: subnormals are kept in the state",
        "lstm_fast/_backends/_program_steps.py",
        "canonical(value.astype(FLOAT32)) if",
        "value.astype(FLOAT32) if",
        MODELS + " -k subnormals",
    ),
    Mutant(
        "models: history does not move on",
        "lstm_fast/_backends/_program_steps.py",
        "newest.append(value[..., -one.history :].copy())",
        "newest.append(value[..., : one.history].copy())",
        MODELS + "::test_history_is_what_came_before",
    ),
    Mutant(
        "models: a run that fails keeps the steps before",
        "lstm_fast/_backends/_stepwise.py",
        "                outputs, kept = self._core.step(kept, [value[t] for value in values])\n",
        "                outputs, kept = self._core.step(kept, [value[t] for value in values])\n"
        "                self._kept = before = kept\n",
        MODELS + "::test_a_bad_frame_late_in_a_run_changes_nothing",
    ),
    Mutant(
        "models: an array of a frame may be the output too",
        "lstm_fast/_frames.py",
        "    if any(np.shares_memory(out, other) for other in others):\n",
        "    if False:\n",
        MODELS + "::test_a_bad_out_changes_nothing",
    ),
    Mutant(
        "models: weights in float16 are those in float32",
        "lstm_fast/_backends/_reference_model.py",
        "_wide(program.constants[number].astype(np.float16))",
        "_wide(program.constants[number])",
        WEIGHT_TYPES + "::test_float16_products_are_those_of_rounded_weights",
    ),
    Mutant(
        "models: a snapshot of other types of weights is taken",
        "lstm_fast/snapshots.py",
        '"weight_dtype": _weight_dtype(model),',
        '"weight_dtype": "float32",',
        SNAPSHOTS + "::test_types_of_weights_are_part_of_it",
    ),
    Mutant(
        "models: what a pool returns beyond a session's length is left as it was",
        "lstm_fast/_backends/_pool_of_streams.py",
        "                    result[n, length:] = 0\n",
        "                    pass\n",
        POOLS + "::test_each_session_is_a_stream",
    ),
    Mutant(
        ".lfm: the checksum is not compared",
        "lstm_fast/_lfm.py",
        "    if checksum != data[-CHECKSUM_BYTES:]:\n",
        "    if False:\n",
        LFM + "::test_a_file_that_is_cut_short_is_refused",
    ),
    Mutant(
        ".lfm: a program may be written in several ways",
        "lstm_fast/_lfm.py",
        "    if to_bytes(result) != data:\n",
        "    if False:\n",
        LFM + "::test_padding_is_zeros",
    ),
    Mutant(
        ".lfm: a text may be named again and again in part",
        "lstm_fast/_lfm.py",
        "            if begin != self.text_at or begin + size > len(self.text):\n",
        "            if begin + size > len(self.text):\n",
        LFM + "::test_strings_and_arrays_cannot_be_counted_twice",
    ),
    Mutant(
        ".lfm: a text is decoded anew for each record that names it",
        "lstm_fast/_lfm.py",
        "        return text\n",
        "        return self.text[begin : begin + size].decode()\n",
        LFM + "::test_one_text_is_kept_once",
    ),
    Mutant(
        ".lfm: a text is decoded however long it is",
        "lstm_fast/_lfm.py",
        "            if size > 4 * limit:",
        "            if False:",
        LFM + "::test_a_text_that_is_too_long_is_never_decoded",
    ),
    Mutant(
        ".lfm: a shape of a file is multiplied before it is checked",
        "lstm_fast/_lfm.py",
        "        check_shape(shape)  # before anything multiplies its sizes\n",
        "",
        LFM + "::test_huge_shapes_are_refused_before_anything_multiplies",
    ),
]
