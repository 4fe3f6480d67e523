/* What a pool computes: the sessions of a call in batches, each through all layers. */
#include <string.h>

#include "../anywhere.h"
#include "../pass.h"
#include "pool.h"

/*
 * One layer of the sessions in the batch, and h and c where they keep them. y_rows: the caller's, or null. A session
 * that is alone takes the kernel of a stream, which is made for one.
 */
static void pass_over(lf_pool *pool, lf_work *work, size_t sessions, size_t l, lf_halves halves,
                      int descending, float *const *y_rows) {
    const lf_engine *engine = &pool->engine;
    const lf_layer *layer = &engine->layers[l];
    const size_t h_at = l * layer->padded_output, c_at = l * layer->padded_hidden;
    const int keeps = halves.end - halves.first != LF_HALVES;
    for (size_t s = 0; s < sessions; s++) {
        const lf_slot *slot = work->slots[s];
        work->h_rows[s] = lf_slot_state(pool, slot) + h_at;
        work->c_rows[s] = lf_slot_c(pool, slot) + c_at;
        if (keeps)
            work->kept_rows[s] = lf_slot_kept(pool, slot) + LF_GATES * c_at;
    }
    if (sessions == 1) {
        lf_pass pass = {
            .x = work->x_rows[0],
            .h = work->h_rows[0],
            .c = work->c_rows[0],
            .h_out = work->o_rows[0],
            .recurrent = keeps ? work->kept_rows[0] : NULL,
            .quants = {work->quant_rows[0][0], work->quant_rows[1][0]},
            .pre = work->pre,
        };
        lf_run_pass(engine, l, halves, descending, &pass);
        if (halves.first == LF_RECURRENT) /* no new h */
            return;
        memcpy(work->h_rows[0], pass.h_out, layer->padded_output * sizeof(float));
        if (y_rows)
            engine->give_output_f32(y_rows[0], pass.h_out, engine->output_size);
        return;
    }
    lf_batch batch = {
        .sessions = sessions,
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
    lf_run_batch(engine, l, halves, descending, &batch);
}

/* Step t of the sessions in the batch, all of them prepared or none. */
static void step_layers(lf_pool *pool, lf_work *work, size_t sessions, size_t t, int prepared,
                        const lf_frames *frames) {
    const lf_model *model = pool->model;
    const size_t I = model->input_size, P = model->output_size;
    const int descending = lf_next_descends(sessions * model->hot_gap);
    for (size_t s = 0; s < sessions; s++) {
        const size_t frame = work->numbers[s] * frames->steps + t;
        float *x = work->x + s * work->x_floats;
        model->isa->take_frame_f32(x, (const float *)frames->inputs[0] + frame * I, I);
        work->x_rows[s] = x;
        work->y_rows[s] = (float *)frames->outputs[0] + frame * P;
    }
    for (size_t l = 0; l < model->num_layers; l++) {
        const int is_last = l + 1 == model->num_layers;
        pass_over(pool, work, sessions, l, prepared ? lf_input_half : lf_both_halves, descending,
                  is_last ? work->y_rows : NULL);
        for (size_t s = 0; s < sessions; s++)
            work->x_rows[s] = work->h_rows[s];
    }
    for (size_t s = 0; prepared && s < sessions; s++)
        lf_pool_drop(pool, work->slots[s]);
}

/* What the sessions of a whole model keep. */
static void find_states(lf_pool *pool, lf_work *work, size_t sessions, int prepared) {
    for (size_t s = 0; s < sessions; s++) {
        work->states[s] = (char *)lf_slot_state(pool, work->slots[s]);
        if (prepared)
            work->kept[s] = (char *)lf_slot_kept(pool, work->slots[s]);
    }
}

/* The same of a whole model. */
static lf_status step_plan(lf_pool *pool, lf_work *work, size_t sessions, size_t t, int prepared,
                           const lf_frames *frames, size_t *bad) {
    size_t wrong;
    find_states(pool, work, sessions, prepared);
    for (size_t s = 0; s < sessions; s++)
        work->at[s] = work->numbers[s] * frames->steps + t;
    const lf_status status = lf_run_step(pool->model->plan, work->run_memory, sessions,
                                         work->states, prepared ? work->kept : NULL, work->at,
                                         frames->inputs, frames->outputs, &wrong);
    if (status != LF_OK && bad)
        *bad = work->numbers[wrong];
    for (size_t s = 0; status == LF_OK && prepared && s < sessions; s++)
        lf_pool_drop(pool, work->slots[s]);
    return status;
}

/* All outputs of the nth session from frame t on. */
static void give_zeros(const lf_pool *pool, size_t n, size_t t, const lf_frames *frames) {
    const lf_values *const values = &pool->model->values;
    for (size_t i = 0; i < values->output_count; i++) {
        const size_t bytes = values->outputs[i].bytes;
        memset((char *)frames->outputs[i] + (n * frames->steps + t) * bytes, 0,
               (frames->end - t) * bytes);
    }
}

/* The steps of the sessions in the batch; those whose frames are used up leave it. */
static lf_status run(lf_pool *pool, lf_work *work, size_t sessions, int prepared,
                     const lf_frames *frames, size_t *bad) {
    lf_status status = LF_OK;
    for (size_t t = frames->first; status == LF_OK && t < frames->end; t++) {
        size_t left = 0;
        for (size_t s = 0; frames->lengths && s < sessions; s++) {
            const size_t n = work->numbers[s], length = lf_length_at(frames->lengths, n);
            if (t < length) {
                work->slots[left] = work->slots[s];
                work->numbers[left++] = n;
            } else {
                give_zeros(pool, n, t, frames);
            }
        }
        if (frames->lengths)
            sessions = left;
        if (!sessions)
            break;
        if (pool->model->plan)
            status = step_plan(pool, work, sessions, t, prepared && t == 0, frames, bad);
        else
            step_layers(pool, work, sessions, t, prepared && t == 0, frames);
    }
    return status;
}

/* What the coming sessions will read is prefetched while these are computed. */
static void prefetch_state(const lf_pool *pool, const lf_slot *slot) {
    const char *state = (const char *)lf_slot_state(pool, slot);
    const size_t bytes = pool->state_floats * sizeof(float);
    for (size_t at = 0; at < bytes && at < LF_STATE_PREFETCH_BYTES; at += LF_ALIGNMENT)
        __builtin_prefetch(state + at, 1, 2);
}

lf_status lf_pool_pass(lf_pool *pool, lf_work *work, const lf_claim *claim, const lf_frames *frames,
                       size_t *bad) {
    lf_status status = LF_OK;
    size_t remaining[2] = {claim->count - claim->prepared, claim->prepared};
    /* Those that are prepared leave out a half, so batches are of one kind. */
    for (int prepared = 0; prepared < 2; prepared++) {
        uint32_t at = lf_linked(&claim->first);
        size_t number = 0;
        while (status == LF_OK && remaining[prepared]) {
            const size_t batches = (remaining[prepared] + pool->most - 1) / pool->most;
            const size_t sessions = remaining[prepared] / batches;
            for (size_t s = 0; s < sessions; number++) {
                lf_slot *slot = &pool->room.slots[at];
                at = lf_linked(&slot->next);
                if ((slot->prepared != LF_NONE) != prepared)
                    continue;
                work->slots[s] = slot;
                work->numbers[s++] = number;
            }
            remaining[prepared] -= sessions;
            uint32_t ahead = at;
            for (size_t s = 0; s < remaining[prepared] && s < pool->most; s++) {
                prefetch_state(pool, &pool->room.slots[ahead]);
                ahead = lf_linked(&pool->room.slots[ahead].next);
            }
            status = run(pool, work, sessions, prepared, frames, bad);
        }
    }
    return status;
}

/* The halves of the sessions in the batch, for which there is room. */
static void prepare(lf_pool *pool, lf_work *work, size_t sessions) {
    const lf_model *model = pool->model;
    if (model->plan) {
        find_states(pool, work, sessions, 1);
        lf_run_prepare(model->plan, work->run_memory, sessions, work->states, work->kept);
        return;
    }
    const int descending = lf_next_descends(sessions * model->hot_gap);
    for (size_t l = 0; l < model->num_layers; l++)
        pass_over(pool, work, sessions, l, lf_recurrent_half, descending, NULL);
}

size_t lf_pool_prepare_pass(lf_pool *pool, lf_work *work, const lf_claim *claim) {
    size_t ready = 0, sessions = 0;
    uint32_t at = lf_linked(&claim->first);
    for (size_t n = 0; n < claim->count; n++) {
        lf_slot *slot = &pool->room.slots[at];
        at = lf_linked(&slot->next);
        if (slot->prepared != LF_NONE)
            ready++;
        else if (lf_pool_keep(pool, slot))
            work->slots[sessions++] = slot;
        if (sessions && (sessions == pool->most || n + 1 == claim->count)) {
            prepare(pool, work, sessions);
            ready += sessions;
            sessions = 0;
        }
    }
    return ready;
}
