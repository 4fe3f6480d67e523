/* Calls on many sessions at once. */
#include <stdlib.h>
#include <string.h>

#include "../anywhere.h"
#include "../overlap.h"
#include "pool.h"

/* One of pool->threads workspaces; its number, from 1, is also the owner of what the call claims. 0: none is free. */
static uint32_t take_work(lf_pool *pool) {
    for (size_t n = 0; n < pool->threads; n++)
        if (!atomic_flag_test_and_set_explicit(&pool->work[n].taken, memory_order_acquire))
            return (uint32_t)n + 1;
    return 0;
}

static lf_work *work_of(lf_pool *pool, const lf_claim *claims) {
    return &pool->work[(claims->owner & ~LF_LOOKS) - 1];
}

/* Leaving must follow: only then those who wait for one are told. */
static void give_back(lf_pool *pool, const lf_claim *claims) {
    atomic_flag_clear_explicit(&work_of(pool, claims)->taken, memory_order_release);
}

/* A status that is no session's fault: see LF_ERR_HANDLE. */
static lf_status refuse(lf_status status, size_t count, size_t *bad) {
    if (bad)
        *bad = count;
    return status;
}

/* Enters, takes a workspace and all sessions; on LF_OK done_with_all must follow. looks: LF_LOOKS or 0. */
static lf_status use_all(lf_pool *pool, const unsigned long long *handles, size_t count,
                         uint32_t looks, lf_claim *claims, size_t *bad) {
    if (!lf_pool_enter(pool))
        return refuse(LF_ERR_BUSY, count, bad);
    const uint32_t work = take_work(pool);
    claims->owner = (work ? work : lf_pool_wait_for(pool, take_work)) | looks;
    const lf_status status = lf_pool_claim_all(pool, handles, count, claims, bad);
    if (status == LF_OK)
        return LF_OK;
    give_back(pool, claims);
    return lf_pool_leave(pool, status);
}

static lf_status done_with_all(lf_pool *pool, const lf_claim *claims, lf_status status) {
    lf_pool_release_all(pool, claims);
    give_back(pool, claims);
    return lf_pool_leave(pool, status);
}

static lf_status check_run(const lf_pool *pool, const unsigned long long *handles, size_t count,
                           size_t steps, const size_t *lengths, const void *const *inputs,
                           void *const *outputs, size_t *bad) {
    const size_t frames = count * steps;
    if (!pool || (count && !handles) || (frames && (!inputs || !outputs)))
        return refuse(LF_ERR_ARGUMENT, count, bad);
    for (size_t n = 0; lengths && n < count; n++)
        if (lf_length_at(lengths, n) > steps) {
            if (bad)
                *bad = n;
            return LF_ERR_SHAPE;
        }
    if (!frames)
        return LF_OK;
    const lf_values *const values = &pool->model->values;
    for (size_t n = 0; n < values->output_count; n++) {
        const size_t bytes = frames * values->outputs[n].bytes;
        if (lf_overlap(handles, count * sizeof *handles, outputs[n], bytes) ||
            (lengths && lf_overlap(lengths, count * sizeof *lengths, outputs[n], bytes)))
            return refuse(LF_ERR_OVERLAP, count, bad);
    }
    const lf_status status = lf_check_ends(values, inputs, frames, outputs);
    return status == LF_OK ? LF_OK : refuse(status, count, bad);
}

/* Copies the states of a call's sessions to `before`, or where that is null each beside itself; or back. */
static void copy_states(lf_pool *pool, const lf_claim *claims, float *before, int back) {
    const size_t floats = pool->state_floats;
    uint32_t at = lf_linked(&claims->first);
    for (size_t n = 0; n < claims->count; n++) {
        lf_slot *slot = &pool->room.slots[at];
        float *const state = lf_slot_state(pool, slot);
        float *const copy = before ? before + n * floats : state + floats;
        at = lf_linked(&slot->next);
        memcpy(back ? state : copy, back ? copy : state, floats * sizeof(float));
    }
}

lf_status lf_pool_run(lf_pool *pool, const unsigned long long *handles, size_t count, size_t steps,
                      const size_t *lengths, const void *const *inputs, void *const *outputs,
                      size_t *bad) {
    lf_claim claims;
    lf_status status = check_run(pool, handles, count, steps, lengths, inputs, outputs, bad);
    if (status == LF_OK)
        status = use_all(pool, handles, count, 0, &claims, bad);
    if (status != LF_OK)
        return status;
    const lf_frames frames = {inputs, outputs, lengths, steps, 0, steps};
    /* one step of one batch changes nothing where it fails; those that are prepared are another batch */
    const int is_mixed = claims.prepared && claims.prepared < count;
    const int keeps =
        pool->slot_floats > pool->state_floats && (steps > 1 || count > pool->most || is_mixed);
    if (keeps)
        copy_states(pool, &claims, NULL, 0);
    status = lf_pool_pass(pool, work_of(pool, &claims), &claims, &frames, bad);
    if (keeps && status != LF_OK)
        copy_states(pool, &claims, NULL, 1);
    return done_with_all(pool, &claims, status);
}

lf_status lf_pool_step(lf_pool *pool, const unsigned long long *handles, size_t count,
                       const void *const *inputs, void *const *outputs, size_t *bad) {
    return lf_pool_run(pool, handles, count, 1, NULL, inputs, outputs, bad);
}

lf_status lf_pool_run_f32(lf_pool *pool, const unsigned long long *handles, size_t count,
                          size_t steps, const size_t *lengths, const float *xs, float *ys,
                          size_t *bad) {
    const void *const inputs[1] = {xs};
    void *const outputs[1] = {ys};
    if (pool && !pool->model->has_simple_ends)
        return refuse(LF_ERR_KIND, count, bad);
    return lf_pool_run(pool, handles, count, steps, lengths, inputs, outputs, bad);
}

lf_status lf_pool_step_f32(lf_pool *pool, const unsigned long long *handles, size_t count,
                           const float *xs, float *ys, size_t *bad) {
    return lf_pool_run_f32(pool, handles, count, 1, NULL, xs, ys, bad);
}

/* ---- in pieces ---- */

/* Those without any step are still prepared after a piece. */
static void count_prepared(const lf_pool *pool, lf_claim *claims) {
    uint32_t at = lf_linked(&claims->first);
    claims->prepared = 0;
    for (size_t n = 0; n < claims->count; n++) {
        claims->prepared += pool->room.slots[at].prepared != LF_NONE;
        at = lf_linked(&pool->room.slots[at].next);
    }
}

/* A status or LF_STOPPED; or LF_ERR_FORKED, and then nothing here is ours any more. */
static int run_pieces(lf_pool *pool, lf_claim *claims, lf_frames *frames, size_t *bad,
                      lf_go_on go_on, void *context) {
    const size_t piece = lf_piece_steps(pool->model, claims->count);
    const uint32_t process = lf_process();
    for (;;) {
        const size_t left = frames->steps - frames->first;
        frames->end = left > piece ? frames->first + piece : frames->steps;
        const lf_status status = lf_pool_pass(pool, work_of(pool, claims), claims, frames, bad);
        if (status != LF_OK || left <= piece)
            return (int)status;
        const int goes_on = go_on(context);
        if (lf_process() != process) /* go_on has forked, and this is the child */
            return LF_ERR_FORKED;
        if (!goes_on)
            return LF_STOPPED;
        frames->first = frames->end;
        count_prepared(pool, claims);
    }
}

int lf_pool_run_values_in_pieces(lf_pool *pool, const unsigned long long *handles, size_t count,
                                 size_t steps, const size_t *lengths, const void *const *inputs,
                                 void *const *outputs, size_t *bad, lf_go_on go_on, void *context) {
    lf_claim claims;
    lf_status status = check_run(pool, handles, count, steps, lengths, inputs, outputs, bad);
    if (status != LF_OK || !count)
        return (int)status;
    const size_t state_bytes = pool->state_floats * sizeof(float);
    float *before = count <= SIZE_MAX / 2 / state_bytes ? malloc(count * state_bytes) : NULL;
    if (!before)
        return (int)refuse(LF_ERR_MEMORY, count, bad);
    int result = (int)use_all(pool, handles, count, 0, &claims, bad);
    if (result == LF_OK) {
        lf_frames frames = {inputs, outputs, lengths, steps, 0, 0};
        copy_states(pool, &claims, before, 0);
        result = run_pieces(pool, &claims, &frames, bad, go_on, context);
        if (result == LF_ERR_FORKED) {
            (void)refuse(LF_ERR_FORKED, count, bad);
        } else {
            if (result != LF_OK)
                copy_states(pool, &claims, before, 1);
            done_with_all(pool, &claims, LF_OK);
        }
    }
    free(before);
    return result;
}

int lf_pool_run_in_pieces(lf_pool *pool, const unsigned long long *handles, size_t count,
                          size_t steps, const size_t *lengths, const float *xs, float *ys,
                          size_t *bad, lf_go_on go_on, void *context) {
    const void *const inputs[1] = {xs};
    void *const outputs[1] = {ys};
    if (pool && !pool->model->has_simple_ends)
        return (int)refuse(LF_ERR_KIND, count, bad);
    return lf_pool_run_values_in_pieces(pool, handles, count, steps, lengths, inputs, outputs, bad,
                                        go_on, context);
}

/* ---- prepare ---- */

lf_status lf_pool_prepare(lf_pool *pool, const unsigned long long *handles, size_t count,
                          size_t *ready, size_t *bad) {
    lf_claim claims;
    if (!pool || (count && !handles))
        return refuse(LF_ERR_ARGUMENT, count, bad);
    const lf_status status = use_all(pool, handles, count, LF_LOOKS, &claims, bad);
    if (status != LF_OK)
        return status;
    const size_t prepared = lf_pool_prepare_pass(pool, work_of(pool, &claims), &claims);
    if (ready)
        *ready = prepared;
    return done_with_all(pool, &claims, LF_OK);
}
