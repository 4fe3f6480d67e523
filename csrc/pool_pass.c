/* What a pool computes: the sessions of a call in batches, each through all layers. */
#include <string.h>

#include "pool.h"

/*
 * Rows of that many floats stand an odd number of cache lines apart: all streams are read at the same k
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
    const size_t panel = LF_GATES * model->isa->panel_vectors * model->isa->lanes;
    const size_t sums = lf_round_up(2 * panel * LF_BATCH_STREAMS, aligned) + 2 * panel;
    /* two bytes each, for the ISA that wants them widest */
    const size_t quants = model->weight_type == LF_INT8 ? row_floats((widest + 1) / 2) : 0;
    const size_t floats = LF_BATCH_STREAMS * (x + o + 2 * quants + pre) + sums;
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
        float *const o_rows = work->x + LF_BATCH_STREAMS * x;
        float *const after_o = o_rows + LF_BATCH_STREAMS * o;
        work->sums = beside_weights(after_o, panel);
        work->quants[0] = (char *)(after_o + sums);
        work->quants[1] = work->quants[0] + LF_BATCH_STREAMS * work->quant_bytes;
        work->pre = (float *)(void *)(work->quants[1] + LF_BATCH_STREAMS * work->quant_bytes);
        for (size_t s = 0; s < LF_BATCH_STREAMS; s++)
            for (size_t half = 0; half < 2; half++)
                work->quant_rows[half][s] = work->quants[half] + s * work->quant_bytes;
        for (size_t s = 0; s < LF_BATCH_STREAMS; s++) {
            work->pre_rows[s] = work->pre + s * pre;
            work->o_rows[s] = o_rows + s * o;
        }
        at += floats;
    }
    return all;
}

/*
 * One layer of the streams in the batch: the halves first .. end - 1, and h and c where the sessions keep
 * them. y_rows: the caller's, or null. A stream that is alone takes the way of lf_stream, which is made
 * for one.
 */
static void layer_pass(lf_pool *pool, lf_work *work, size_t streams, size_t l, size_t first,
                       size_t end, lf_way way, float *const *y_rows) {
    const lf_model *model = pool->model;
    const size_t h_at = l * model->padded_output, c_at = l * model->padded_hidden;
    const int keeps = first == 1 || end == 1;
    for (size_t s = 0; s < streams; s++) {
        const lf_slot *slot = work->slots[s];
        work->h_rows[s] = lf_slot_state(pool, slot) + h_at;
        work->c_rows[s] = lf_slot_c(pool, slot) + c_at;
        if (keeps)
            work->kept_rows[s] = pool->kept + slot->prepared * pool->kept_floats + LF_GATES * c_at;
    }
    if (streams == 1) {
        lf_pass pass = {
            .layer = &model->layers[l],
            .first_half = first,
            .end_half = end,
            .descending = way.descending,
            .fetches_ahead = way.is_hot && model->is_in_l3,
            .x = work->x_rows[0],
            .h = work->h_rows[0],
            .c = work->c_rows[0],
            .h_out = work->o_rows[0],
            .recurrent = keeps ? work->kept_rows[0] : NULL,
            .quants = {work->quant_rows[0][0], work->quant_rows[1][0]},
            .pre = work->pre,
        };
        model->isa->layer_pass[model->weight_type](&pass);
        if (first == 1) /* no new h */
            return;
        memcpy(work->h_rows[0], pass.h_out, model->padded_output * sizeof(float));
        if (y_rows)
            model->isa->give_output_f32(y_rows[0], pass.h_out, model->output_size);
        return;
    }
    lf_batch batch = {
        .layer = &model->layers[l],
        .first_half = first,
        .end_half = end,
        .streams = streams,
        .descending = way.descending,
        .fetches_ahead = model->exceeds_l2,
        .x = work->x_rows,
        .h = work->h_rows,
        .c = work->c_rows,
        .o = work->o_rows,
        .y = y_rows,
        .recurrent = keeps ? work->kept_rows : NULL,
        .sums = work->sums,
        .quants = {work->quant_rows[0], work->quant_rows[1]},
        .operands = {work->operands[0], work->operands[1]},
        .pre = work->pre_rows,
    };
    model->isa->batch_pass[model->weight_type](&batch);
}

/* Step t of the streams in the batch, all of them prepared or none. */
static void step(lf_pool *pool, lf_work *work, size_t streams, size_t t, int prepared,
                 const lf_frames *frames) {
    const lf_model *model = pool->model;
    const size_t I = model->input_size, P = model->output_size;
    const lf_way way = lf_next_way(streams * model->turns_within);
    for (size_t s = 0; s < streams; s++) {
        const size_t frame = work->numbers[s] * frames->steps + t;
        float *x = work->x + s * work->x_floats;
        model->isa->take_frame_f32(x, frames->xs + frame * I, I);
        work->x_rows[s] = x;
        work->y_rows[s] = frames->ys + frame * P;
    }
    for (size_t l = 0; l < model->num_layers; l++) {
        const int is_last = l + 1 == model->num_layers;
        layer_pass(pool, work, streams, l, 0, prepared ? 1 : 2, way, is_last ? work->y_rows : NULL);
        for (size_t s = 0; s < streams; s++)
            work->x_rows[s] = work->h_rows[s];
    }
    for (size_t s = 0; prepared && s < streams; s++)
        lf_pool_drop(pool, work->slots[s]);
}

/* The steps of the streams in the batch; those whose frames are used up leave it. */
static void run(lf_pool *pool, lf_work *work, size_t streams, int prepared,
                const lf_frames *frames) {
    const size_t P = pool->model->output_size;
    for (size_t t = frames->first; t < frames->end; t++) {
        size_t left = 0;
        for (size_t s = 0; frames->lengths && s < streams; s++) {
            const size_t n = work->numbers[s], length = frames->lengths[n];
            if (t < length) {
                work->slots[left] = work->slots[s];
                work->numbers[left++] = n;
            } else {
                memset(frames->ys + (n * frames->steps + t) * P, 0,
                       (frames->end - t) * P * sizeof(float));
            }
        }
        if (frames->lengths)
            streams = left;
        if (!streams)
            return;
        step(pool, work, streams, t, prepared && t == 0, frames);
    }
}

/* What the coming streams will read is asked for while these are computed. */
static void fetch_state(const lf_pool *pool, const lf_slot *slot) {
    const char *state = (const char *)lf_slot_state(pool, slot);
    const size_t bytes = pool->state_floats * sizeof(float);
    for (size_t at = 0; at < bytes && at < 2048; at += LF_ALIGNMENT)
        __builtin_prefetch(state + at, 1, 2);
}

void lf_pool_pass(lf_pool *pool, lf_work *work, const lf_claim *claim, const lf_frames *frames) {
    size_t remaining[2] = {claim->count - claim->prepared, claim->prepared};
    /* Those that are prepared take another way, so batches are of one kind. */
    for (int prepared = 0; prepared < 2; prepared++) {
        uint32_t at = claim->first;
        size_t number = 0;
        while (remaining[prepared]) {
            const size_t batches = (remaining[prepared] + LF_BATCH_STREAMS - 1) / LF_BATCH_STREAMS;
            const size_t streams = remaining[prepared] / batches;
            for (size_t s = 0; s < streams; number++) {
                lf_slot *slot = &pool->room.slots[at];
                at = slot->next;
                if ((slot->prepared != LF_NONE) != prepared)
                    continue;
                work->slots[s] = slot;
                work->numbers[s++] = number;
            }
            remaining[prepared] -= streams;
            uint32_t ahead = at;
            for (size_t s = 0; s < remaining[prepared] && s < LF_BATCH_STREAMS; s++) {
                fetch_state(pool, &pool->room.slots[ahead]);
                ahead = pool->room.slots[ahead].next;
            }
            run(pool, work, streams, prepared, frames);
        }
    }
}

size_t lf_pool_prepare_pass(lf_pool *pool, lf_work *work, const lf_claim *claim) {
    size_t ready = 0, streams = 0;
    uint32_t at = claim->first;
    for (size_t n = 0; n < claim->count; n++) {
        lf_slot *slot = &pool->room.slots[at];
        at = slot->next;
        if (slot->prepared != LF_NONE)
            ready++;
        else if (lf_pool_keep(pool, slot))
            work->slots[streams++] = slot;
        if (streams && (streams == LF_BATCH_STREAMS || n + 1 == claim->count)) {
            const lf_way way = lf_next_way(streams * pool->model->turns_within);
            for (size_t l = 0; l < pool->model->num_layers; l++)
                layer_pass(pool, work, streams, l, 1, 2, way, NULL);
            ready += streams;
            streams = 0;
        }
    }
    return ready;
}
