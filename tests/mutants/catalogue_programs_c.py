"""Mistakes in what the core makes of programs."""

from .mutant import Mutant

PARSER = "tests/models/test_c_parser.py"
EDGES = f"{PARSER}::test_edges"

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
]
