/* A pool of a whole model, and for each of its sessions a stream that is to be its like. */
#ifndef MODEL_POOLS_H
#define MODEL_POOLS_H

#include "allocations.h"
#include "check.h"
#include "model_calls.h"
#include "pool/pool.h"
#include "stream.h"

enum { N = 150, STATES = 16 };

static lf_model *model;
static lf_pool *pool;
static unsigned long long handles[N];
static lf_stream *streams[N];
static uint32_t seed = 1;

static inline uint32_t below(uint32_t limit) {
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % limit;
}

static inline lf_slot *slot_of(size_t n) { return &pool->room.slots[handles[n] & 0xFFFFFF]; }

static inline void open_all(size_t capacity, size_t threads) {
    CHECK(lf_pool_create(model, capacity, 7, threads, &pool) == LF_OK);
    for (size_t n = 0; n < N; n++) {
        if (n == capacity)
            CHECK(lf_pool_grow(pool, N - capacity) == LF_OK);
        CHECK(lf_pool_open(pool, &handles[n]) == LF_OK);
        CHECK(lf_stream_create(model, &streams[n]) == LF_OK);
    }
}

static inline void close_all(void) {
    for (size_t n = 0; n < N; n++)
        lf_stream_destroy(streams[n]);
    lf_pool_destroy(pool);
}

/* A session's state, all of its values. */
static inline int states_are_equal(size_t n, const lf_stream *stream) {
    const size_t bytes = model->plan->state_bytes;
    return memcmp(lf_slot_state(pool, slot_of(n)), stream->state, bytes) == 0;
}

/* Session `chosen` has, as the nth of a call, what its stream gives, and zeros behind its end. */
static inline int is_as_alone(const values *v, size_t n, size_t chosen, size_t steps,
                              size_t length) {
    values alone = make_values(model, steps);
    int same = 1;
    copy_inputs(&alone, v, n * steps, steps);
    CHECK(lf_stream_run(streams[chosen], alone.inputs, length, alone.outputs) == LF_OK);
    for (size_t i = 0; i < v->output_count; i++) {
        const size_t bytes = v->output_bytes[i];
        same &= memcmp((char *)v->outputs[i] + n * steps * bytes, alone.outputs[i],
                       length * bytes) == 0;
        same &=
            is_zero((char *)v->outputs[i] + (n * steps + length) * bytes, (steps - length) * bytes);
    }
    free_values(&alone);
    return same;
}

static inline size_t steps_of_three_pieces(void) { return 2 * lf_piece_steps(model, N) + 1; }

/* Counts down, and stops a run at 0. */
static inline int go_on(void *context) { return --*(int *)context != 0; }

/* ---- what is done to sessions, and to the streams that are to be their like ---- */

/* Some of the sessions, each at most once, in any order. */
static inline size_t choose(size_t *chosen, size_t most) {
    size_t all[N], count = 1 + below((uint32_t)most);
    for (size_t n = 0; n < N; n++)
        all[n] = n;
    for (size_t n = 0; n < count; n++) {
        const size_t at = n + below((uint32_t)(N - n));
        chosen[n] = all[at];
        all[at] = all[n];
    }
    return count;
}

static inline void call_some(void) {
    size_t chosen[N], lengths[N], count = choose(chosen, below(3) ? 6 : N);
    const size_t steps = 1 + below(4), ragged = below(2);
    unsigned long long called[N];
    values v = make_values(model, count * steps);
    fill(&v, &seed);
    for (size_t n = 0; n < count; n++) {
        called[n] = handles[chosen[n]];
        lengths[n] = ragged ? below((uint32_t)steps + 1) : steps;
    }
    /* what others, or anything, have left in scratch is nothing to these */
    for (size_t n = 0; n < pool->threads; n++)
        memset(pool->work[n].run_memory, 0xFF, lf_run_bytes(model->plan, pool->most));
    const int before = allocations;
    if (steps == 1 && !ragged)
        CHECK(lf_pool_step(pool, called, count, v.inputs, v.outputs, NULL) == LF_OK);
    else
        CHECK(lf_pool_run(pool, called, count, steps, ragged ? lengths : NULL, v.inputs, v.outputs,
                          NULL) == LF_OK);
    CHECK(allocations == before);
    for (size_t n = 0; n < count; n++)
        CHECK(is_as_alone(&v, n, chosen[n], steps, lengths[n]));
    free_values(&v);
}

static inline void reopen(size_t n) {
    const size_t bytes = pool->slot_floats * sizeof(float);
    float *const state = lf_slot_state(pool, slot_of(n));
    const unsigned long long stale = handles[n];
    size_t bad = 99;
    memset(state, 1, bytes);
    CHECK(lf_pool_close(pool, stale) == LF_OK);
    CHECK(is_zero(state, bytes));
    values v = make_values(model, 1);
    CHECK(lf_pool_step(pool, &stale, 1, v.inputs, v.outputs, &bad) == LF_ERR_HANDLE && bad == 0);
    free_values(&v);
    CHECK(lf_pool_open(pool, &handles[n]) == LF_OK && handles[n] != stale);
    CHECK(lf_stream_reset(streams[n]) == LF_OK);
}

/* From one session to another; its stream goes along. */
static inline void copy_session(size_t to, size_t from) {
    void *states[STATES];
    make_states(model, states);
    CHECK(lf_pool_get_states(pool, handles[from], states) == LF_OK);
    CHECK(lf_pool_set_states(pool, handles[to], (const void *const *)states) == LF_OK);
    CHECK(lf_stream_copy(streams[to], streams[from]) == LF_OK);
    free_states(model, states);
}

#endif
