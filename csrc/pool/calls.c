/* Calls on many sessions at once. */
#include <stdlib.h>
#include <string.h>

#include "../overlap.h"
#include "pool.h"

/* One of pool->threads workspaces; its number, from 1, is also the owner of what the call claims. */
static uint32_t take_work(lf_pool *pool) {
    for (;;) {
        for (size_t n = 0; n < pool->threads; n++)
            if (!atomic_flag_test_and_set_explicit(&pool->work[n].taken, memory_order_acquire))
                return (uint32_t)n + 1;
        lf_wait_a_little();
    }
}

static lf_work *work_of(lf_pool *pool, const lf_claim *claims) {
    return &pool->work[(claims->owner & ~LF_LOOKS) - 1];
}

static void give_back(lf_pool *pool, const lf_claim *claims) {
    atomic_flag_clear_explicit(&work_of(pool, claims)->taken, memory_order_release);
}

/* Enters, takes a workspace and all sessions; on LF_OK done_with_all must follow. looks: LF_LOOKS or 0. */
static lf_status use_all(lf_pool *pool, const unsigned long long *handles, size_t count,
                         uint32_t looks, lf_claim *claims, size_t *bad) {
    if (!lf_pool_enter(pool)) {
        if (bad)
            *bad = count;
        return LF_ERR_BUSY;
    }
    claims->owner = take_work(pool) | looks;
    const lf_status status = lf_pool_claim_all(pool, handles, count, claims, bad);
    if (status == LF_OK)
        return LF_OK;
    give_back(pool, claims);
    return lf_pool_leave(pool, status);
}

static lf_status done_with_all(lf_pool *pool, const lf_claim *claims) {
    lf_pool_release_all(pool, claims);
    give_back(pool, claims);
    return lf_pool_leave(pool, LF_OK);
}

static lf_status check_run(const lf_pool *pool, const unsigned long long *handles, size_t count,
                           size_t steps, const size_t *lengths, const float *xs, const float *ys,
                           size_t *bad) {
    if (!pool || (count && (!handles || (steps && (!xs || !ys)))))
        return LF_ERR_ARGUMENT;
    for (size_t n = 0; lengths && n < count; n++)
        if (lengths[n] > steps) {
            if (bad)
                *bad = n;
            return LF_ERR_SHAPE;
        }
    const size_t y_bytes = count * steps * pool->model->output_size * sizeof(float);
    if (lf_overlap(xs, count * steps * pool->model->input_size * sizeof(float), ys, y_bytes) ||
        lf_overlap(handles, count * sizeof *handles, ys, y_bytes) ||
        (lengths && lf_overlap(lengths, count * sizeof *lengths, ys, y_bytes)))
        return LF_ERR_OVERLAP;
    return LF_OK;
}

lf_status lf_pool_run_f32(lf_pool *pool, const unsigned long long *handles, size_t count,
                          size_t steps, const size_t *lengths, const float *xs, float *ys,
                          size_t *bad) {
    lf_claim claims;
    lf_status status = check_run(pool, handles, count, steps, lengths, xs, ys, bad);
    if (status == LF_OK)
        status = use_all(pool, handles, count, 0, &claims, bad);
    if (status != LF_OK)
        return status;
    const lf_frames frames = {xs, ys, lengths, steps, 0, steps};
    lf_pool_pass(pool, work_of(pool, &claims), &claims, &frames);
    return done_with_all(pool, &claims);
}

lf_status lf_pool_step_f32(lf_pool *pool, const unsigned long long *handles, size_t count,
                           const float *xs, float *ys, size_t *bad) {
    return lf_pool_run_f32(pool, handles, count, 1, NULL, xs, ys, bad);
}

/* ---- in pieces ---- */

/* Copies the states of a call's sessions to `before`, or back. */
static void copy_states(lf_pool *pool, const lf_claim *claims, float *before, int back) {
    uint32_t at = claims->first;
    for (size_t n = 0; n < claims->count; n++) {
        lf_slot *slot = &pool->room.slots[at];
        float *state = lf_slot_state(pool, slot), *copy = before + n * pool->state_floats;
        at = slot->next;
        memcpy(back ? state : copy, back ? copy : state, pool->state_floats * sizeof(float));
    }
}

/* Those without any step are still prepared after a piece. */
static void count_prepared(const lf_pool *pool, lf_claim *claims) {
    uint32_t at = claims->first;
    claims->prepared = 0;
    for (size_t n = 0; n < claims->count; n++) {
        claims->prepared += pool->room.slots[at].prepared != LF_NONE;
        at = pool->room.slots[at].next;
    }
}

/* LF_OK or LF_STOPPED; or LF_ERR_FORKED, and then nothing here is ours any more. */
static int run_pieces(lf_pool *pool, lf_claim *claims, lf_frames *frames, lf_go_on go_on,
                      void *context) {
    const size_t piece = lf_piece_steps(pool->model, claims->count);
    const uint32_t process = lf_process();
    for (;;) {
        const size_t left = frames->steps - frames->first;
        frames->end = left > piece ? frames->first + piece : frames->steps;
        lf_pool_pass(pool, work_of(pool, claims), claims, frames);
        if (left <= piece)
            return LF_OK;
        const int goes_on = go_on(context);
        if (lf_process() != process) /* go_on has forked, and this is the child */
            return LF_ERR_FORKED;
        if (!goes_on)
            return LF_STOPPED;
        frames->first = frames->end;
        count_prepared(pool, claims);
    }
}

int lf_pool_run_in_pieces(lf_pool *pool, const unsigned long long *handles, size_t count,
                          size_t steps, const size_t *lengths, const float *xs, float *ys,
                          size_t *bad, lf_go_on go_on, void *context) {
    lf_claim claims;
    lf_status status = check_run(pool, handles, count, steps, lengths, xs, ys, bad);
    if (status != LF_OK)
        return (int)status;
    /* xs is larger, so this can't overflow unless there are more sessions in a call than in a pool */
    float *before = count && count <= LF_MAX_CAPACITY
                        ? malloc(count * pool->state_floats * sizeof(float))
                        : NULL;
    if (count && !before)
        return LF_ERR_MEMORY;
    int result = (int)use_all(pool, handles, count, 0, &claims, bad);
    if (result == LF_OK) {
        lf_frames frames = {xs, ys, lengths, steps, 0, 0};
        copy_states(pool, &claims, before, 0);
        result = run_pieces(pool, &claims, &frames, go_on, context);
        if (result == LF_ERR_FORKED) {
            if (bad)
                *bad = 0;
        } else {
            if (result == LF_STOPPED)
                copy_states(pool, &claims, before, 1);
            done_with_all(pool, &claims);
        }
    }
    free(before);
    return result;
}

/* ---- prepare ---- */

lf_status lf_pool_prepare(lf_pool *pool, const unsigned long long *handles, size_t count,
                          size_t *ready, size_t *bad) {
    lf_claim claims;
    if (!pool || (count && !handles))
        return LF_ERR_ARGUMENT;
    const lf_status status = use_all(pool, handles, count, LF_LOOKS, &claims, bad);
    if (status != LF_OK)
        return status;
    const size_t prepared = lf_pool_prepare_pass(pool, work_of(pool, &claims), &claims);
    if (ready)
        *ready = prepared;
    return done_with_all(pool, &claims);
}
