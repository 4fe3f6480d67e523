/* A pool of a whole model, and for each of its sessions a stream that is to be its like. */
#ifndef MODEL_POOLS_H
#define MODEL_POOLS_H

#include "check.h"
#include "model_calls.h"
#include "pool/pool.h"
#include "stream.h"

enum { N = 150 };

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

#endif
