/* Workspaces: what calls need while they compute. */
#include <stdlib.h>

#include "pool.h"

/*
 * Rows of that many floats stand an odd number of cache lines apart: all sessions are read at the same k
 * in turn, and a power of two between them would put all of those lines into a few sets of L1.
 */
static size_t row_floats(size_t floats) {
    const size_t line = LF_ALIGNMENT / sizeof(float);
    return ((floats + line - 1) / line | 1) * line;
}

/*
 * Where the sums begin: from `at` on, within two of their rows. In wide panels a row of sums is as long as
 * one of float32 weights, and a tile reads the same half of either; half a row aside, the two are in
 * different sets of L1. For other weights it makes no difference.
 */
static float *beside_weights(float *at, size_t row_floats) {
    const size_t row_bytes = row_floats * sizeof(float);
    const size_t past = (size_t)((uintptr_t)at % row_bytes);
    return (float *)(void *)((char *)at + (row_bytes - past) + row_bytes / 2);
}

/* How long the rows of a workspace are, and all of it. */
typedef struct sizes {
    size_t x, o, pre, sums, quants, floats;
} sizes;

static sizes sizes_of(const lf_model *model) {
    const size_t aligned = LF_ALIGNMENT / sizeof(float), padded = model->padded_hidden;
    const size_t panel = LF_GATES * model->isa->wide_panel * model->isa->lanes;
    sizes z = {
        .x = row_floats(model->input_size),
        .o = row_floats(model->padded_output),
        .pre = model->variants ? row_floats(LF_PRE_ROWS * padded) : 0,
        .sums = lf_round_up(2 * panel * LF_BATCH_SESSIONS, aligned) + 2 * panel,
    };
    size_t widest = z.x > z.o ? z.x : z.o;
    widest = widest > padded ? widest : padded;
    /* two bytes each, for the ISA that wants them widest */
    z.quants = model->weight_type == LF_INT8 ? row_floats((widest + 1) / 2) : 0;
    z.floats = LF_BATCH_SESSIONS * (z.x + z.o + 2 * z.quants + z.pre) + z.sums;
    return z;
}

/* Where the parts of one workspace are, from `at` on. */
static void divide(lf_work *work, const lf_model *model, const sizes *z, float *at) {
    const size_t panel = LF_GATES * model->isa->wide_panel * model->isa->lanes;
    work->x_floats = z->x;
    work->quant_bytes = z->quants * sizeof(float);
    work->x = at;
    float *const o_rows = work->x + LF_BATCH_SESSIONS * z->x;
    float *const after_o = o_rows + LF_BATCH_SESSIONS * z->o;
    work->sums = beside_weights(after_o, panel);
    work->quants[0] = (char *)(after_o + z->sums);
    work->quants[1] = work->quants[0] + LF_BATCH_SESSIONS * work->quant_bytes;
    work->pre = (float *)(void *)(work->quants[1] + LF_BATCH_SESSIONS * work->quant_bytes);
    for (size_t s = 0; s < LF_BATCH_SESSIONS; s++) {
        for (size_t half = 0; half < 2; half++)
            work->quant_rows[half][s] = work->quants[half] + s * work->quant_bytes;
        work->pre_rows[s] = work->pre + s * z->pre;
        work->o_rows[s] = o_rows + s * z->o;
    }
}

/* One block for all workspaces; null where there is no memory. Give back with lf_free. */
lf_work *lf_work_create(const lf_model *model, size_t threads, size_t *bytes) {
    const lf_plan *const plan = model->plan;
    const sizes z = plan ? (sizes){0} : sizes_of(model);
    const size_t each = plan ? lf_run_bytes(plan, plan->sessions_a_pass) : z.floats * sizeof(float);
    const size_t header = lf_round_up(threads * sizeof(lf_work), LF_ALIGNMENT);
    if (each > (SIZE_MAX / 4 - header) / threads)
        return NULL;
    *bytes = header + threads * each;
    lf_work *all = lf_alloc_zeroed(*bytes);
    if (!all)
        return NULL;
    for (size_t n = 0; n < threads; n++) {
        void *const at = (char *)all + header + n * each;
        atomic_flag_clear(&all[n].taken);
        if (plan)
            all[n].run_memory = at;
        else
            divide(&all[n], model, &z, at);
    }
    return all;
}
