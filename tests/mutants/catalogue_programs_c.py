"""Mistakes in what the core makes of programs."""

from .mutant import Mutant

PARSER = "tests/models/test_c_parser.py"
EDGES = f"{PARSER}::test_edges"
POOLS = "tests/models/test_c_model_pools.py -k none"
STEPS = "tests/models/test_model_steps.py"

PROGRAMS_C = [
    Mutant(
        ".lfm in C: a character may be written in a longer form",
        "csrc/program/texts.c",
        "    return value < least[following] || value > 0x10FFFF",
        "    return value < least[following] / 2 || value > 0x10FFFF",
        EDGES,
    ),
    Mutant(
        ".lfm in C: a text may be there twice",
        "csrc/program/texts.c",
        "        if (compare_known(texts, texts->order[n - 1], texts->order[n]) == 0)\n",
        "        if (compare_known(texts, texts->order[n - 1], texts->order[n]) > 0)\n",
        EDGES,
    ),
    Mutant(
        ".lfm in C: constants stand in any order",
        "csrc/program/parse.c",
        "(before && **number <= *before)",
        "(before && **number == *before)",
        EDGES,
    ),
    Mutant(
        ".lfm in C: what the header claims takes memory",
        "csrc/program/parse.c",
        " || has->words < fewest || ",
        " || (has->words < fewest && !fewest) || ",
        f"{PARSER}::test_what_the_header_says",
    ),
    Mutant(
        ".lfm in C: a program that did not fit in memory is not given back",
        "csrc/program/parse.c",
        "    if (status)\n        lf_program_destroy(made);\n    else\n",
        "    if (!status)\n",
        f"{PARSER}::test_memory_may_run_out",
    ),
    Mutant(
        ".lfm in C: a gather's least index is not looked at",
        "csrc/program/check.c",
        "    return indices->least >= -size && indices->greatest < size;",
        "    return indices->least >= -size - 1 && indices->greatest < size;",
        EDGES,
    ),
    Mutant(
        ".lfm in C: one of two axes that broadcast may be any size",
        "csrc/program/shapes.c",
        "            if (size != 1 && other != 1 && other != size)\n",
        "            if (size != 1 && other != 1 && other > size)\n",
        EDGES,
    ),
    Mutant(
        ".lfm in C: a parameter of an activation that has one may be infinite",
        "csrc/program/shapes_weights.c",
        "(has == NEITHER || isfinite(name[1].real))",
        "(has != BOTH || isfinite(name[1].real))",
        EDGES,
    ),
    Mutant(
        "pools of models: a call that has failed half way leaves states as they are by then",
        "csrc/pool/calls.c",
        "    if (keeps && status != LF_OK)\n",
        "    if (!keeps && status != LF_OK)\n",
        POOLS,
    ),
    Mutant(
        "pools of models: a single step of several batches is not taken back",
        "csrc/pool/calls.c",
        "(steps > 1 || count > pool->most);",
        "steps > 1;",
        POOLS,
    ),
    Mutant(
        "pools of models: the session to blame is told by its place in the batch",
        "csrc/pool/pass.c",
        "        *bad = work->numbers[wrong];\n",
        "        *bad = wrong;\n",
        POOLS,
    ),
    Mutant(
        "pools of models: frames are those of a session's place in the batch",
        "csrc/pool/pass.c",
        "work->at[s] = work->numbers[s] * frames->steps + t;",
        "work->at[s] = s * frames->steps + t;",
        POOLS,
    ),
    Mutant(
        "pools of models: only the first output has zeros behind a session's end",
        "csrc/pool/pass.c",
        "i < values->output_count; i++",
        "i < 1; i++",
        POOLS,
    ),
    Mutant(
        "pools of models: close leaves what a state was before a call",
        "csrc/pool/sessions.c",
        "0, pool->slot_floats * sizeof(float));",
        "0, pool->state_floats * sizeof(float));",
        POOLS,
    ),
    Mutant(
        "pools of models: a stream whose run in pieces has been stopped stays where it is",
        "csrc/program/stream.c",
        "            if (result != LF_OK)\n",
        "            if (result > LF_OK)\n",
        POOLS,
    ),
    Mutant(
        "a step by name takes a mapping that has more than the inputs",
        "csrc/python/ends.h",
        "if ((is_dict ? PyDict_Size(given) : 1) != count)",
        "if (is_dict ? PyDict_Size(given) < count : count != 1)",
        f"{STEPS}::test_wrong_calls_of_a_stream_change_nothing",
    ),
    Mutant(
        ".lfm in C: padding along two axes has no bound",
        "csrc/program/shapes_weights.c",
        "padded[1 + axis] = along.size + along.begin + along.end;",
        "padded[1 + axis] = along.size;",
        EDGES,
    ),
    Mutant(
        "a step into arrays that are given counts its result twice",
        "csrc/python/ends.h",
        "static PyObject *finish(call *all, lf_status status) {\n",
        "static PyObject *finish(call *all, lf_status status) {\n    Py_INCREF(all->result);\n",
        f"{STEPS}::test_calls_keep_no_reference",
    ),
    Mutant(
        "a piece of a long run counts a convolution's weights once",
        "csrc/program/costs.c",
        "(double)one->product.row_count * matrix->rows * matrix->columns;",
        "(double)matrix->rows * matrix->columns;",
        f"{STEPS}::test_a_piece_counts_each_use_of_the_weights",
    ),
]
