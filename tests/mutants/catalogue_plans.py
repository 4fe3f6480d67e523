"""Mistakes in how the core plans and runs programs."""

from .mutant import Mutant, program

NATIVE = "tests/models/test_native_programs.py"
VIEWS, BUFFERS, PLAIN = (program(f"test_{name}") for name in ("views", "buffers", "plain"))
BOUNDS = f"{NATIVE}::test_each_operation_is_within_its_bound"

PLANS = [
    Mutant(
        "plans: the margin of a padded convolution is what was there before",
        "csrc/program/plan_products.c",
        "    if (is_padded) {\n",
        "    if (is_padded && c->axis[1].kernel > c->axis[1].taps) {\n",
        BOUNDS,
    ),
    Mutant(
        "plans: a convolution leaves out its last tap",
        "csrc/program/plan_products.c",
        "        end_tap = tap + 1;\n",
        "        end_tap = tap > 1 ? tap : tap + 1;\n",
        BOUNDS,
    ),
    Mutant(
        "plans: each row of a kernel begins where a tap of the row before it would",
        "csrc/program/run.c",
        "            at += p->line_step;\n",
        "",
        BOUNDS,
    ),
    Mutant(
        "plans: the rows of a kernel that only meet padding are left out of x alone",
        "csrc/program/packing.c",
        " + p->first_tap[0] + line;",
        " + line;",
        BOUNDS,
    ),
    Mutant(
        "plans: a filter of each channel has one row",
        "csrc/generic/product.h",
        "window + line * d->tap_step[0] + tap",
        "window + tap",
        BOUNDS,
    ),
    Mutant(
        "plans: every group of a convolution has the biases of the first",
        "csrc/program/packing.c",
        "p->bias[p->first_row + row] + 0.0f",
        "p->bias[row] + 0.0f",
        BOUNDS,
    ),
    Mutant(
        "plans: a reflection repeats the edge behind it",
        "csrc/program/plan_movement.c",
        "&x, size - 2, -1,",
        "&x, size - 1, -1,",
        BOUNDS,
    ),
    Mutant(
        "plans: what is put out is not alive in the end",
        "csrc/program/plan.c",
        "        stay_alive(planner, plan->gives[n].from);\n",
        "        stay_alive(planner, plan->takes[0].at);\n",
        f"{NATIVE}::test_what_is_computed_along_with_a_product_is_the_same",
    ),
    Mutant(
        "plans: a product is fused with an activation though others use it, too",
        "csrc/program/planner.c",
        "    if (planner->uses[result] != 1 ||",
        "    if (planner->uses[result] < 1 ||",
        f"{NATIVE}::test_a_product_that_others_use_stays_beside_its_activation",
    ),
    Mutant(
        "plans: a state that becomes another one is read after it was overwritten",
        "csrc/program/plan.c",
        "        if (view.at.room == LF_IN_STATE) {",
        "        if (view.at.room == LF_ROOMS) {",
        f"{NATIVE}::test_states_that_become_each_other",
    ),
    Mutant(
        "plans: a history is one value late",
        "csrc/program/run.c",
        "rows + row * (before + new) + new,",
        "rows + row * (before + new) + new - element,",
        f"{NATIVE}::test_history",
    ),
    Mutant(
        "plans: a run that fails keeps the states of its first steps",
        "csrc/program/stream.c",
        "    if (keeps && status != LF_OK)\n",
        "    if (keeps && status == LF_ERR_MEMORY)\n",
        f"{NATIVE}::test_an_index_beyond_a_table_changes_nothing",
    ),
    Mutant(
        "plans: a parameter that an activation has not makes a model wrong",
        "csrc/program/plan_recurrent.c",
        "    return isfinite(attribute->real) ? attribute->real : 0.0f;",
        "    return isnan(attribute->real) ? 0.0f : attribute->real;",
        f"{NATIVE}::test_an_lstm_with_parameters_that_it_does_not_use",
    ),
    Mutant(
        "plans: axes that lie together in the result alone are made one",
        "csrc/program/view.c",
        "        for (uint32_t v = 0; together && v < count; v++)\n",
        "        for (uint32_t v = 0; together && v < 1 && count; v++)\n",
        VIEWS,
    ),
    Mutant(
        "plans: a reshape needs no copy of axes that lie apart",
        "csrc/program/view.c",
        "                    return 0;\n",
        "                    break;\n",
        VIEWS,
    ),
    Mutant(
        "plans: two buffers that are alive share memory",
        "csrc/program/buffers.c",
        "        s->gaps[n].begin += bytes;\n",
        "        s->gaps[n].begin += bytes - 64;\n",
        BUFFERS,
    ),
    Mutant(
        "plans: no memory is used again",
        "csrc/program/buffers.c",
        "        if (s->gaps[n].end - s->gaps[n].begin < bytes)\n",
        "        if (s->gaps[n].end - s->gaps[n].begin < 1000 * bytes)\n",
        BUFFERS,
    ),
    Mutant(
        "plans: an index may be one before the first row",
        "csrc/program/plain.c",
        "            if (index < -p->rows ||",
        "            if (index < -p->rows - 1 ||",
        PLAIN,
    ),
]
