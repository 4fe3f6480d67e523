/*
 * Threads on one pool. What they may see of each other is a status and nothing else; the thread
 * sanitizer watches that there is no more, and -DLF_TEST_WITHOUT_CLAIM shows that it does.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "pool/pool.h"
#include "small_lstm.h"

enum {
    THREADS = 4,
    EACH = 6,
    TURNS = 120,
    SHARED = 8,
    GROWTH = 40,
    HEIRS = 50000,
    LOG = 8 * TURNS
};

typedef struct worker {
    int number, wrong; /* wrong: what must not happen and did */
    uint32_t random;
    size_t opened, closed, grown, counted;
    unsigned long long log[LOG]; /* a handle for each step that was taken */
    pthread_t id;
} worker;

static worker workers[THREADS];
static const lf_model *model;
static lf_pool *pool;
static pthread_barrier_t start;
static _Atomic int over;
static _Atomic unsigned long long known[SHARED];
static unsigned long long own[THREADS * EACH];
static const float ones[EACH * 2 * I];

#define MUST(w, condition)                                                                         \
    do {                                                                                           \
        if (!(condition))                                                                          \
            (w)->wrong = __LINE__;                                                                 \
    } while (0)

static uint32_t below(worker *w, uint32_t limit) {
    w->random = w->random * 1664525u + 1013904223u;
    return (w->random >> 8) % limit;
}

static void run_all(void *(*work)(void *)) {
    pthread_barrier_init(&start, NULL, THREADS);
    for (int n = 0; n < THREADS; n++) {
        workers[n] = (worker){.number = n, .random = (uint32_t)n + 1};
        CHECK(pthread_create(&workers[n].id, NULL, work, &workers[n]) == 0);
    }
    for (int n = 0; n < THREADS; n++)
        CHECK(pthread_join(workers[n].id, NULL) == 0);
    pthread_barrier_destroy(&start);
    for (int n = 0; n < THREADS; n++)
        if (workers[n].wrong) {
            printf("thread %d: line %d\n", n, workers[n].wrong);
            check_failed++;
        }
}

/* Each with sessions of its own, which come and go: nobody is refused, and all get their own bits. */
static void *stay_apart(void *argument) {
    worker *w = argument;
    lf_stream *stream;
    float xs[EACH * I], ys[EACH * H], y[H];
    unsigned long long handles[EACH];
    size_t ready;
    MUST(w, lf_stream_create(model, &stream) == LF_OK);
    pthread_barrier_wait(&start);
    for (int life = 0; life < TURNS / 20; life++) {
        for (int n = 0; n < EACH; n++)
            MUST(w, lf_pool_open(pool, &handles[n]) == LF_OK);
        MUST(w, lf_stream_reset(stream) == LF_OK);
        for (int turn = 0; turn < 20; turn++) {
            for (int j = 0; j < I; j++)
                xs[j] = pseudo_random(&w->random);
            for (int n = 1; n < EACH; n++)
                memcpy(xs + n * I, xs, I * sizeof *xs);
            if (turn % 3 == 0)
                MUST(w, lf_pool_prepare(pool, handles, below(w, EACH), &ready, NULL) == LF_OK);
            MUST(w, lf_pool_step_f32(pool, handles, EACH, xs, ys, NULL) == LF_OK);
            MUST(w, lf_stream_step_f32(stream, xs, y) == LF_OK);
            for (int n = 0; n < EACH; n++)
                MUST(w, memcmp(ys + n * H, y, sizeof y) == 0);
        }
        for (int n = 0; n < EACH; n++)
            MUST(w, lf_pool_close(pool, handles[n]) == LF_OK);
    }
    lf_stream_destroy(stream);
    return NULL;
}

static int is_refusal(lf_status status) {
    return status == LF_ERR_BUSY || status == LF_ERR_HANDLE || status == LF_ERR_REPEATED ||
           status == LF_ERR_FULL;
}

/* All use all sessions for everything: each call counts once or is refused. */
static void *storm(void *argument) {
    worker *w = argument;
    float ys[3 * 2 * H], h[H], c[H];
    unsigned long long chosen[3];
    pthread_barrier_wait(&start);
#ifdef LF_TEST_WITHOUT_CLAIM
    if (!w->number) {
        /* again and again: the sanitizer remembers the last few who were at a place, and a single look
         * before all others may be forgotten */
        for (int n = 0; n < TURNS * SHARED; n++) {
            memcpy(c, lf_slot_c(pool, &pool->room.slots[n % SHARED]), sizeof c);
            LF_KEEP_STORES(c);
        }
        return NULL;
    }
#endif
    for (int turn = 0; turn < TURNS; turn++) {
        const uint32_t count = 1 + below(w, 3), action = below(w, 16);
        lf_status status;
        for (uint32_t n = 0; n < count; n++)
            chosen[n] = atomic_load(&known[below(w, SHARED)]);
        if (action < 2) {
            status = lf_pool_open(pool, chosen);
            w->opened += status == LF_OK;
            if (status == LF_OK)
                atomic_store(&known[below(w, SHARED)], chosen[0]);
        } else if (action < 4) {
            status = lf_pool_close(pool, chosen[0]);
            w->closed += status == LF_OK;
        } else if (action < 10) {
            const size_t steps = action < 8 ? 1 : 2;
            status = lf_pool_run_f32(pool, chosen, count, steps, NULL, ones, ys, NULL);
            for (size_t n = 0; status == LF_OK && n < count * steps; n++)
                w->log[w->counted++] = chosen[n % count];
        } else if (action < 12) {
            status = lf_pool_prepare(pool, chosen, count, NULL, NULL);
        } else if (action < 15) {
            status = lf_pool_get_state_f32(pool, chosen[0], h, c);
            for (int j = 1; status == LF_OK && j < H; j++)
                MUST(w, c[j] == c[0]);
        } else {
            status = lf_pool_grow(pool, 1);
            w->grown += status == LF_OK;
        }
        MUST(w, status == LF_OK || is_refusal(status));
    }
    return NULL;
}

static void check_storm(void) {
    size_t opened = SHARED, closed = 0, grown = 0;
    static unsigned long long open[SHARED + THREADS * TURNS];
    float h[H], c[H], y[H];
    for (int n = 0; n < SHARED; n++) {
        unsigned long long handle;
        CHECK(lf_pool_open(pool, &handle) == LF_OK);
        atomic_store(&known[n], handle);
    }
    const size_t capacity = lf_pool_capacity(pool);
    run_all(storm);
    for (int n = 0; n < THREADS; n++) {
        opened += workers[n].opened;
        closed += workers[n].closed;
        grown += workers[n].grown;
    }
    CHECK(lf_pool_open_count(pool) == opened - closed);
    CHECK(lf_pool_capacity(pool) == capacity + grown);
    const size_t count = lf_pool_handles(pool, open, sizeof open / sizeof *open);
    CHECK(count == opened - closed);
    for (size_t s = 0; s < count; s++) {
        size_t steps = 0;
        for (int n = 0; n < THREADS; n++)
            for (size_t j = 0; j < workers[n].counted; j++)
                steps += workers[n].log[j] == open[s];
        CHECK(lf_pool_get_state_f32(pool, open[s], h, c) == LF_OK && c[0] == (float)steps);
        CHECK(lf_pool_step_f32(pool, &open[s], 1, ones, y, NULL) == LF_OK); /* nobody has it */
        CHECK(lf_pool_close(pool, open[s]) == LF_OK);
    }
    for (size_t n = 0; n < capacity + grown; n++) { /* every slot is free again, once */
        CHECK(lf_pool_open(pool, &open[n]) == LF_OK);
        CHECK(lf_pool_get_state_f32(pool, open[n], h, c) == LF_OK && c[0] == 0);
    }
    CHECK(lf_pool_open(pool, &open[0]) == LF_ERR_FULL);
}

/* One grows while the others step; who is refused tries again. */
static void *step_or_grow(void *argument) {
    worker *w = argument;
    float ys[EACH * H];
    lf_status status;
    pthread_barrier_wait(&start);
    for (int turn = 0; turn < (w->number ? TURNS : GROWTH); turn++) {
        do
            status = w->number
                         ? lf_pool_step_f32(pool, own + w->number * EACH, EACH, ones, ys, NULL)
                         : lf_pool_grow(pool, 3);
        while (status == LF_ERR_BUSY);
        MUST(w, status == LF_OK);
        MUST(w, lf_pool_capacity(pool) >= THREADS * EACH);
        MUST(w, lf_pool_is_open(pool, own[w->number * EACH]));
        MUST(w, lf_pool_open_count(pool) == THREADS * EACH);
    }
    return NULL;
}

static void check_growth(void) {
    float h[H], c[H];
    for (int n = 0; n < THREADS * EACH; n++)
        CHECK(lf_pool_open(pool, &own[n]) == LF_OK);
    run_all(step_or_grow);
    CHECK(lf_pool_capacity(pool) == THREADS * EACH + 3 * GROWTH);
    for (int n = 0; n < THREADS * EACH; n++) {
        CHECK(lf_pool_get_state_f32(pool, own[n], h, c) == LF_OK);
        CHECK(c[0] == (n < EACH ? 0 : TURNS) && c[H - 1] == c[0]);
    }
}

/* Who uses a handle that is void by now is not in the way of the session that came after. */
static void *come_and_go(void *argument) {
    worker *w = argument;
    unsigned long long first, heir;
    float h[H], c[H];
    lf_status status;
    pthread_barrier_wait(&start);
    while (w->number && !atomic_load(&over)) {
        status = lf_pool_reset(pool, atomic_load(&known[0]));
        MUST(w, status == LF_OK || is_refusal(status));
    }
    for (int turn = 0; turn < HEIRS && !w->number; turn++) {
        MUST(w, lf_pool_open(pool, &first) == LF_OK);
        atomic_store(&known[0], first);
        do /* the others know this one */
            status = lf_pool_close(pool, first);
        while (status == LF_ERR_BUSY);
        MUST(w, status == LF_OK && lf_pool_open(pool, &heir) == LF_OK);
        MUST(w, lf_pool_get_state_f32(pool, heir, h, c) == LF_OK);
        do
            MUST(w, (status = lf_pool_close(pool, heir)) == LF_OK);
        while (status == LF_ERR_BUSY);
    }
    atomic_store(&over, 1);
    return NULL;
}

static lf_pool *make_pool(const lf_model *of, size_t capacity, size_t threads) {
    lf_pool *made;
    model = of;
    CHECK(lf_pool_create(model, capacity, 5, threads, &made) == LF_OK);
    return made;
}

int main(void) {
    lf_model *small, *counting;
    CHECK(counting_lstm("scalar", &counting) == LF_OK);
    for (int type = LF_FLOAT32; type <= LF_INT8; type += LF_INT8)
        for (size_t threads = 1; threads <= THREADS; threads += THREADS - 1) { /* also too few */
            CHECK(small_lstm("scalar", (lf_weight_type)type, &small) == LF_OK);
            pool = make_pool(small, THREADS * EACH, threads);
            run_all(stay_apart);
            CHECK(lf_pool_open_count(pool) == 0);
            lf_pool_destroy(pool);
            lf_model_destroy(small);
        }
    pool = make_pool(counting, SHARED + 4, 2);
    check_storm();
    lf_pool_destroy(pool);
    pool = make_pool(counting, THREADS * EACH, 2);
    check_growth();
    lf_pool_destroy(pool);
    pool = make_pool(counting, 1, 1);
    run_all(come_and_go);
    lf_pool_destroy(pool);
    lf_model_destroy(counting);
    return check_failures("pool threads");
}
