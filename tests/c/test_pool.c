/*
 * Pools without Python: statuses, the bits of streams, what is left in memory, and that a step
 * allocates nothing. Linked with --wrap=malloc and so on, so that allocations are counted and fail.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "allocations.h"
#include "check.h"
#include "pool/pool.h"
#include "small_lstm.h"

enum { N = 170, T = 3 };

static float xs[N * T * I], ys[N * T * H], expected[T * H];
static unsigned long long handles[N];

static void make_frames(uint32_t seed) {
    const float special[] = {NAN, INFINITY, -INFINITY, 3e38f, 1e-42f, -0.0f, 0, 30};
    for (int j = 0; j < N * T * I; j++)
        xs[j] = 4 * pseudo_random(&seed);
    for (int n = 1; n < N; n += 3) /* every third session is not finite, one of several kinds */
        xs[n * T * I + n % (T * I)] = special[n / 3 % 8];
}

static const char *state_of(lf_pool *pool, unsigned long long handle) {
    return (const char *)lf_slot_state(pool, &pool->room.slots[handle & 0xFFFFFF]);
}

static int all_zero(const void *memory, size_t bytes) {
    const char *at = memory;
    for (size_t j = 0; j < bytes; j++)
        if (at[j])
            return 0;
    return 1;
}

static void check_create(const lf_model *model) {
    lf_pool *pool = NULL;
    unsigned long long handle;
    CHECK(lf_pool_create(NULL, 1, 1, 1, &pool) == LF_ERR_ARGUMENT);
    CHECK(lf_pool_create(model, 1, 1, 1, NULL) == LF_ERR_ARGUMENT);
    CHECK(lf_pool_create(model, 1, 1, 0, &pool) == LF_ERR_ARGUMENT);
    CHECK(lf_pool_create(model, 0, 1, 1, &pool) == LF_ERR_SHAPE);
    CHECK(lf_pool_create(model, LF_MAX_CAPACITY + 1, 1, 1, &pool) == LF_ERR_SHAPE);
    CHECK(lf_pool_create(model, 1, LF_MAX_CAPACITY + 1, 1, &pool) == LF_ERR_SHAPE);
    CHECK(lf_pool_create(model, 1, SIZE_MAX, 1, &pool) == LF_ERR_SHAPE);
    CHECK(lf_pool_create(model, 1, 1, 4097, &pool) == LF_ERR_SHAPE);
    int needed = 0;
    for (allowed = 0, allocations = 0; needed < 99; allowed = ++needed, allocations = 0) {
        const lf_status status = lf_pool_create(model, 2, 1, 2, &pool); /* leaks show up at exit */
        if (status == LF_OK)
            break;
        CHECK(status == LF_ERR_MEMORY && pool == NULL);
    }
    allowed = PLENTY;
    CHECK(needed >= 5 && pool != NULL);
    CHECK(lf_pool_capacity(pool) == 2 && lf_pool_open_count(pool) == 0);
    CHECK(lf_pool_open(NULL, &handle) == LF_ERR_ARGUMENT);
    CHECK(lf_pool_open(pool, NULL) == LF_ERR_ARGUMENT && lf_pool_open_count(pool) == 0);
    CHECK(lf_pool_grow(NULL, 1) == LF_ERR_ARGUMENT);
    CHECK(lf_pool_close(NULL, 1) == LF_ERR_ARGUMENT);
    CHECK(lf_pool_close(pool, 0) == LF_ERR_HANDLE && lf_pool_reset(pool, 1) == LF_ERR_HANDLE);
    lf_pool_destroy(pool);
    lf_pool_destroy(NULL);
    for (int status = LF_ERR_RANGE; status <= LF_ERR_FULL; status++)
        CHECK(strcmp(lf_status_text(status), lf_status_text(-1)) != 0);
}

/* A pool of N sessions that have all come one step. */
static lf_pool *used_pool(const lf_model *model, size_t prepared, size_t threads) {
    lf_pool *pool;
    CHECK(lf_pool_create(model, N, prepared, threads, &pool) == LF_OK);
    for (int n = 0; n < N; n++)
        CHECK(lf_pool_open(pool, &handles[n]) == LF_OK);
    make_frames(7);
    CHECK(lf_pool_step_f32(pool, handles, N, xs, ys, NULL) == LF_OK);
    return pool;
}

/* Sums stand half a row beside where rows of weights begin, and there is room for all of them. */
static void check_workspace(const lf_model *model) {
    lf_pool *pool;
    const size_t row = LF_GATES * model->isa->wide_panel * model->isa->lanes;
    CHECK(lf_pool_create(model, 1, 0, 3, &pool) == LF_OK);
    for (size_t n = 0; n < pool->threads; n++) {
        const lf_work *work = &pool->work[n];
        const size_t bytes = row * sizeof(float);
        CHECK((uintptr_t)work->sums % bytes == bytes / 2);
        CHECK((char *)(work->sums + 2 * row * LF_BATCH_SESSIONS) <= (char *)work->quants[0]);
        CHECK(work->o_rows[LF_BATCH_SESSIONS - 1] + model->padded_output <= work->sums);
        CHECK((uintptr_t)work->quants[0] % LF_ALIGNMENT == 0);
    }
    lf_pool_destroy(pool);
}

/* Streams of one, and the pool in parts of `part`, backwards, all of N in the end. */
static void check_bits(const lf_model *model, size_t part) {
    lf_stream *stream;
    size_t lengths[N], ready;
    float h[L * H], c[L * H], h2[L * H], c2[L * H];
    lf_pool *pool = used_pool(model, 60, 1);
    CHECK(lf_stream_create(model, &stream) == LF_OK);
    make_frames((uint32_t)part);
    for (size_t n = 0; n < N; n++)
        lengths[n] = n % 5 == 4 ? 0 : n % (T + 1);
    const int before = allocations;
    for (size_t end = N; end; end -= end < part ? end : part) {
        const size_t first = end < part ? 0 : end - part, count = end - first;
        CHECK(lf_pool_prepare(pool, handles + first, count / 2, &ready, NULL) == LF_OK);
        CHECK(ready <= count / 2);
        CHECK(lf_pool_run_f32(pool, handles + first, count, T, lengths + first, xs + first * T * I,
                              ys + first * T * H, NULL) == LF_OK);
    }
    CHECK(allocations == before); /* the hot path: not one */
    for (int n = 0; n < N; n++) {
        make_frames(7);
        CHECK(lf_stream_reset(stream) == LF_OK);
        CHECK(lf_stream_step_f32(stream, xs + n * I, expected) == LF_OK);
        make_frames((uint32_t)part);
        memset(expected, 0, sizeof expected);
        CHECK(lf_stream_run_f32(stream, xs + n * T * I, lengths[n], expected) == LF_OK);
        CHECK(memcmp(expected, ys + n * T * H, sizeof expected) == 0);
        CHECK(lf_stream_get_state_f32(stream, h, c) == LF_OK);
        CHECK(lf_pool_get_state_f32(pool, handles[n], h2, c2) == LF_OK);
        CHECK(memcmp(h, h2, sizeof h) == 0 && memcmp(c, c2, sizeof c) == 0);
    }
    CHECK(lf_stream_reset(stream) == LF_OK); /* negative control: one step less is another state */
    CHECK(lf_stream_get_state_f32(stream, h, c) == LF_OK);
    CHECK(memcmp(h, h2, sizeof h) != 0);
    lf_stream_destroy(stream);
    lf_pool_destroy(pool);
}

/* What fails says where, and leaves every state and the output as they were. */
static void check_refusals(const lf_model *model) {
    lf_pool *pool = used_pool(model, 4, 2), *other = NULL;
    const size_t state_bytes = N * pool->state_floats * sizeof(float);
    float *kept = malloc(state_bytes);
    unsigned long long wrong[N], foreign, more;
    size_t bad = 99, lengths[N] = {0}, ready = 99;
    CHECK(kept && lf_pool_create(model, N, 0, 1, &other) == LF_OK);
    for (int n = 0; n < N; n++)
        CHECK(lf_pool_open(other, &foreign) == LF_OK); /* of the same slot as the last one here */
    memcpy(kept, pool->room.states, state_bytes);
    memset(ys, 7, sizeof ys);
    CHECK(lf_pool_open(pool, &more) == LF_ERR_FULL);
    memcpy(wrong, handles, sizeof wrong);
    for (size_t place = 0; place < N; place += 43) {
        const unsigned long long void_ones[] = {
            foreign, 0, handles[place] ^ 1ull << 24, handles[place] ^ 1ull << 63, ~0ull, place};
        for (size_t j = 0; j < sizeof void_ones / sizeof *void_ones; j++) {
            wrong[place] = void_ones[j];
            CHECK(!lf_pool_is_open(pool, wrong[place]));
            CHECK(lf_pool_step_f32(pool, wrong, N, xs, ys, &bad) == LF_ERR_HANDLE && bad == place);
            CHECK(lf_pool_prepare(pool, wrong, N, &ready, &bad) == LF_ERR_HANDLE && bad == place);
            CHECK(lf_pool_step_f32(pool, wrong, N, xs, ys, NULL) == LF_ERR_HANDLE);
            CHECK(lf_pool_close(pool, wrong[place]) == LF_ERR_HANDLE);
        }
        wrong[place] = handles[(place + 1) % N];
        bad = 99;
        CHECK(lf_pool_step_f32(pool, wrong, N, xs, ys, &bad) == LF_ERR_REPEATED);
        CHECK(bad == (place + 1 < N ? place + 1 : place));
        wrong[place] = handles[place];
    }
    lengths[N - 1] = T + 1;
    CHECK(lf_pool_run_f32(pool, handles, N, T, lengths, xs, ys, &bad) == LF_ERR_SHAPE);
    CHECK(bad == N - 1);
    CHECK(lf_pool_step_f32(NULL, handles, N, xs, ys, NULL) == LF_ERR_ARGUMENT);
    CHECK(lf_pool_step_f32(pool, NULL, N, xs, ys, NULL) == LF_ERR_ARGUMENT);
    CHECK(lf_pool_step_f32(pool, handles, N, NULL, ys, NULL) == LF_ERR_ARGUMENT);
    CHECK(lf_pool_step_f32(pool, handles, N, xs, NULL, NULL) == LF_ERR_ARGUMENT);
    CHECK(lf_pool_prepare(NULL, handles, N, NULL, NULL) == LF_ERR_ARGUMENT);
    CHECK(lf_pool_prepare(pool, NULL, N, NULL, NULL) == LF_ERR_ARGUMENT);
    CHECK(lf_pool_get_state_f32(pool, handles[0], NULL, ys) == LF_ERR_ARGUMENT);
    CHECK(lf_pool_set_state_f32(pool, handles[0], xs, NULL) == LF_ERR_ARGUMENT);
    bad = 99;
    CHECK(lf_pool_step_f32(pool, handles, N, xs, xs + N * I - 1, &bad) == LF_ERR_OVERLAP);
    CHECK(bad == N); /* it is none of them */
    bad = 99;
    CHECK(lf_pool_step_f32(pool, handles, N, NULL, ys, &bad) == LF_ERR_ARGUMENT && bad == N);
    bad = 99;
    CHECK(lf_pool_prepare(pool, NULL, N, NULL, &bad) == LF_ERR_ARGUMENT && bad == N);
    CHECK(lf_pool_step_f32(pool, handles, 1, xs, (float *)(void *)handles, NULL) == LF_ERR_OVERLAP);
    CHECK(lf_pool_run_f32(pool, handles, 1, 1, lengths, xs, (float *)(void *)lengths, NULL) ==
          LF_ERR_OVERLAP);
    CHECK(lf_pool_grow(pool, LF_MAX_CAPACITY) == LF_ERR_SHAPE);
    CHECK(lf_pool_grow(pool, SIZE_MAX) == LF_ERR_SHAPE);
    for (int n = 0; n < 2; n++) {
        allowed = n, allocations = 0;
        CHECK(lf_pool_grow(pool, 1) == LF_ERR_MEMORY);
        allowed = PLENTY;
    }
    CHECK(lf_pool_capacity(pool) == N && lf_pool_open_count(pool) == N);
    CHECK(memcmp(kept, pool->room.states, state_bytes) == 0);
    CHECK(ys[0] == ys[N * H - 1] && memcmp(ys, ys + 1, sizeof ys - sizeof *ys) == 0);
    /* nothing needs no pointers */
    CHECK(lf_pool_step_f32(pool, NULL, 0, NULL, NULL, NULL) == LF_OK);
    CHECK(lf_pool_run_f32(pool, handles, N, 0, NULL, NULL, NULL, NULL) == LF_OK);
    CHECK(lf_pool_prepare(pool, NULL, 0, &ready, NULL) == LF_OK && ready == 0);
    CHECK(memcmp(kept, pool->room.states, state_bytes) == 0);
    CHECK(lf_pool_step_f32(pool, handles, N, xs, ys, NULL) ==
          LF_OK); /* and nobody is left in use */
    CHECK(memcmp(kept, pool->room.states, state_bytes) != 0);
    free(kept);
    lf_pool_destroy(pool);
    lf_pool_destroy(other);
}

/* As if other threads were inside: the calls of test_pool_threads.c, made certain. */
static void check_busy(const lf_model *model) {
    lf_pool *pool = used_pool(model, 4, 1);
    float h[L * H], c[L * H];
    size_t bad = 99;
    unsigned long long more;
    lf_slot *slot = &pool->room.slots[handles[5] & 0xFFFFFF];
    lf_slot kept;
    CHECK(lf_pool_close(pool, handles[N - 1]) == LF_OK);
    memcpy(&kept, slot, sizeof kept);
    atomic_store(&slot->key, 77);
    CHECK(lf_pool_step_f32(pool, handles, 9, xs, ys, &bad) == LF_ERR_BUSY && bad == 5);
    CHECK(lf_pool_prepare(pool, handles, 9, NULL, &bad) == LF_ERR_BUSY && bad == 5);
    CHECK(lf_pool_close(pool, handles[5]) == LF_ERR_BUSY);
    CHECK(lf_pool_reset(pool, handles[5]) == LF_ERR_BUSY);
    CHECK(lf_pool_get_state_f32(pool, handles[5], h, c) == LF_ERR_BUSY);
    CHECK(lf_pool_set_state_f32(pool, handles[5], h, c) == LF_ERR_BUSY);
    CHECK(lf_pool_step_f32(pool, handles, 5, xs, ys, &bad) == LF_OK);              /* without it */
    const unsigned long long user = (unsigned long long)(slot - pool->room.slots); /* as a handle */
    atomic_store(&slot->key, user);
    CHECK(lf_pool_reset(pool, user) == LF_ERR_HANDLE);
    CHECK(lf_pool_step_f32(pool, &user, 1, xs, ys, &bad) == LF_ERR_HANDLE && bad == 0);
    memcpy(slot, &kept, sizeof kept);
    CHECK(lf_pool_step_f32(pool, handles, 9, xs, ys, &bad) == LF_OK);
    atomic_store(&pool->users, 1);
    CHECK(lf_pool_grow(pool, 1) == LF_ERR_BUSY && pool->room.capacity == N);
    CHECK(lf_pool_step_f32(pool, handles, 9, xs, ys, NULL) == LF_OK);
    atomic_store(&pool->users, INT64_MIN / 2);
    CHECK(lf_pool_grow(pool, 1) == LF_ERR_BUSY);
    CHECK(lf_pool_step_f32(pool, handles, 9, xs, ys, NULL) == LF_ERR_BUSY);
    CHECK(lf_pool_prepare(pool, handles, 9, NULL, NULL) == LF_ERR_BUSY);
    CHECK(lf_pool_open(pool, &more) == LF_ERR_BUSY);
    CHECK(lf_pool_close(pool, handles[0]) == LF_ERR_BUSY);
    CHECK(lf_pool_get_state_f32(pool, handles[0], h, c) == LF_ERR_BUSY);
    CHECK(atomic_load(&pool->users) == INT64_MIN / 2); /* the refused have left */
    atomic_store(&pool->users, 0);
    CHECK(lf_pool_grow(pool, 1) == LF_OK && lf_pool_capacity(pool) == N + 1);
    lf_pool_destroy(pool);
}

/* "Close leaves nothing but zeros behind": in the state, and in what was prepared from it. */
static void check_closed_memory(const lf_model *model) {
    lf_pool *pool = used_pool(model, N, 1);
    const size_t bytes = pool->state_floats * sizeof(float);
    const size_t kept_bytes = pool->kept_floats * sizeof(float);
    size_t ready;
    CHECK(lf_pool_prepare(pool, handles, N, &ready, NULL) == LF_OK && ready == N);
    for (int n = 0; n < N; n++) {
        const char *state = state_of(pool, handles[n]);
        const float *half =
            pool->kept + pool->room.slots[handles[n] & 0xFFFFFF].prepared * pool->kept_floats;
        CHECK(!all_zero(state, bytes) && !all_zero(half, kept_bytes)); /* the control */
        CHECK(lf_pool_close(pool, handles[n]) == LF_OK);
        CHECK(all_zero(state, bytes));
        CHECK(all_zero(half, kept_bytes));
        CHECK(!lf_pool_is_open(pool, handles[n]));
        CHECK(lf_pool_open_count(pool) == (size_t)(N - 1 - n));
    }
    CHECK(lf_pool_handles(pool, handles, N) == 0);
    lf_pool_destroy(pool);
}

static void check_grow(const lf_model *model) {
    lf_pool *pool = used_pool(model, N, 1);
    unsigned long long found[N + 8], more;
    float h[L * H], c[L * H], h2[L * H], c2[L * H];
    const size_t bytes = lf_pool_bytes(pool);
    CHECK(lf_pool_prepare(pool, handles, N, NULL, NULL) == LF_OK);
    CHECK(lf_pool_get_state_f32(pool, handles[N - 1], h, c) == LF_OK);
    CHECK(lf_pool_grow(pool, 0) == LF_OK && lf_pool_bytes(pool) == bytes);
    CHECK(lf_pool_grow(pool, 7) == LF_OK && lf_pool_capacity(pool) == N + 7);
    const size_t empty_lines = ((N + 7) / 2 - N / 2) * LF_ALIGNMENT;
    CHECK(lf_pool_bytes(pool) - bytes ==
          7 * (sizeof(lf_slot) + pool->state_floats * 4) + empty_lines);
    for (size_t n = 0; n < N + 7; n++) { /* whole lines of its own for each */
        const size_t floats = lf_state_at(pool, n + 1) - lf_state_at(pool, n);
        CHECK(floats >= pool->state_floats && lf_state_at(pool, n) % (LF_ALIGNMENT / 4) == 0);
    }
    CHECK(lf_pool_get_state_f32(pool, handles[N - 1], h2, c2) == LF_OK);
    CHECK(memcmp(h, h2, sizeof h) == 0 && memcmp(c, c2, sizeof c) == 0);
    for (int n = 0; n < 7; n++) {
        CHECK(lf_pool_open(pool, &more) == LF_OK && all_zero(state_of(pool, more), 4));
        CHECK(lf_pool_step_f32(pool, &more, 1, xs, ys, NULL) == LF_OK);
    }
    CHECK(lf_pool_open(pool, &more) == LF_ERR_FULL);
    CHECK(lf_pool_handles(pool, found, N + 8) == N + 7);
    found[3] = 0;
    CHECK(lf_pool_handles(pool, found, 3) == N + 7 && found[0] && found[3] == 0);
    CHECK(sizeof(lf_slot) <= 64); /* what a session has beyond its state */
    lf_pool_destroy(pool);
}

static int compare(const void *a, const void *b) {
    const unsigned long long x = *(const unsigned long long *)a, y = *(const unsigned long long *)b;
    return x < y ? -1 : x > y;
}

/* Over many openings in two pools no handle comes twice, and neither pool takes one of the other. */
static void check_handles(const lf_model *model) {
    enum { COUNT = 100000 };
    lf_pool *pools[2];
    unsigned long long *seen = malloc(COUNT * sizeof *seen);
    CHECK(lf_pool_create(model, 2, 0, 1, &pools[0]) == LF_OK);
    CHECK(lf_pool_create(model, 3, 0, 1, &pools[1]) == LF_OK);
    for (int n = 0; n < COUNT; n++) {
        lf_pool *pool = pools[n % 2], *other = pools[1 - n % 2];
        CHECK(lf_pool_open(pool, &seen[n]) == LF_OK && seen[n]);
        CHECK(lf_pool_is_open(pool, seen[n]) && !lf_pool_is_open(other, seen[n]));
        if (n >= 2) { /* two are open in each pool, at most */
            CHECK(lf_pool_close(pool, seen[n - 2]) == LF_OK);
            CHECK(lf_pool_close(pool, seen[n - 2]) == LF_ERR_HANDLE);
        }
    }
    qsort(seen, COUNT, sizeof *seen, compare);
    for (int n = 1; n < COUNT; n++)
        CHECK(seen[n] != seen[n - 1]);
    free(seen);
    lf_pool_destroy(pools[0]);
    lf_pool_destroy(pools[1]);
}

int main(void) {
    lf_model *model;
    for (size_t i = 0; i < lf_isa_count(); i++)
        for (int type = LF_FLOAT32; type <= LF_INT8 && !lf_isa_missing(i, 0); type++) {
            CHECK(small_lstm(lf_isa_name(i), (lf_weight_type)type, &model) == LF_OK);
            const size_t parts[] = {1, 2, 3, 4, 5, 6, 7, 8, 12, 64, 65, 127, 128, 129, N};
            for (size_t n = 0; n < sizeof parts / sizeof *parts; n++)
                check_bits(model, parts[n]);
            check_workspace(model);
            check_closed_memory(model);
            lf_model_destroy(model);
        }
    CHECK(small_lstm(NULL, LF_FLOAT32, &model) == LF_OK);
    check_create(model);
    check_refusals(model);
    check_busy(model);
    check_grow(model);
    check_handles(model);
    lf_model_destroy(model);
    return check_failures("pool");
}
