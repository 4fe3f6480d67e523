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

/* One block for all workspaces; null where there is no memory. Give back with free. */
lf_work *lf_work_create(const lf_model *model, size_t threads, size_t *bytes) {
    const size_t aligned = LF_ALIGNMENT / sizeof(float), padded = model->padded_hidden;
    const size_t x = row_floats(model->input_size), o = row_floats(model->padded_output);
    const size_t pre = model->variants ? row_floats(LF_PRE_ROWS * padded) : 0;
    size_t widest = x > o ? x : o;
    widest = widest > padded ? widest : padded;
    const size_t panel = LF_GATES * model->isa->wide_panel * model->isa->lanes;
    const size_t sums = lf_round_up(2 * panel * LF_BATCH_SESSIONS, aligned) + 2 * panel;
    /* two bytes each, for the ISA that wants them widest */
    const size_t quants = model->weight_type == LF_INT8 ? row_floats((widest + 1) / 2) : 0;
    const size_t floats = LF_BATCH_SESSIONS * (x + o + 2 * quants + pre) + sums;
    const size_t header = lf_round_up(threads * sizeof(lf_work), LF_ALIGNMENT);
    if (floats > (SIZE_MAX / 4 - header) / threads / sizeof(float))
        return NULL;
    *bytes = header + threads * floats * sizeof(float);
    lf_work *all = lf_alloc_zeroed(*bytes);
    if (!all)
        return NULL;
    float *at = (float *)(void *)((char *)all + header);
    for (size_t n = 0; n < threads; n++) {
        lf_work *work = &all[n];
        atomic_flag_clear(&work->taken);
        work->x_floats = x;
        work->quant_bytes = quants * sizeof(float);
        work->x = at;
        float *const o_rows = work->x + LF_BATCH_SESSIONS * x;
        float *const after_o = o_rows + LF_BATCH_SESSIONS * o;
        work->sums = beside_weights(after_o, panel);
        work->quants[0] = (char *)(after_o + sums);
        work->quants[1] = work->quants[0] + LF_BATCH_SESSIONS * work->quant_bytes;
        work->pre = (float *)(void *)(work->quants[1] + LF_BATCH_SESSIONS * work->quant_bytes);
        for (size_t s = 0; s < LF_BATCH_SESSIONS; s++)
            for (size_t half = 0; half < 2; half++)
                work->quant_rows[half][s] = work->quants[half] + s * work->quant_bytes;
        for (size_t s = 0; s < LF_BATCH_SESSIONS; s++) {
            work->pre_rows[s] = work->pre + s * pre;
            work->o_rows[s] = o_rows + s * o;
        }
        at += floats;
    }
    return all;
}
