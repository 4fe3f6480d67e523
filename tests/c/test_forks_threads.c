/* Forks anywhere, while threads are busy; a child that waits for ever is killed by its alarm. */
#include <pthread.h>
#include <time.h>

#include "forked.h"

enum { FORKS = 60, THREADS = 4, TORN_STATUS = 2 };

static unsigned long long busy[2 * THREADS];
static _Atomic int over;
static lf_stream *streams[THREADS];
static pthread_barrier_t start;

/* Uses two sessions and a stream of its own, and opens and closes others. */
static void *be_busy(void *argument) {
    lf_stream **own = argument;
    const size_t first = 2 * (size_t)(own - streams);
    static _Thread_local float ys[2 * STEPS * H], h[H], c[H];
    unsigned long long more;
    pthread_barrier_wait(&start);
    while (!atomic_load(&over)) {
        CHECK(lf_pool_run_f32(pool, busy + first, 2, STEPS, NULL, ones, ys, NULL) == LF_OK);
        CHECK(lf_pool_prepare(pool, busy + first, 2, NULL, NULL) == LF_OK);
        CHECK(lf_pool_get_state_f32(pool, busy[first], h, c) == LF_OK);
        CHECK(lf_pool_open(pool, &more) == LF_OK && lf_pool_close(pool, more) == LF_OK);
        CHECK(lf_stream_run_f32(*own, ones, STEPS, ys) == LF_OK);
    }
    return NULL;
}

static int torn; /* how many a child has met */

static void check_session(unsigned long long handle) {
    float h[H], c[H], y[H];
    lf_status status = lf_pool_get_state_f32(pool, handle, h, c);
    int steps = status == LF_OK ? steps_of(c) : 0;
    if (status == LF_ERR_FORKED) {
        torn++;
        status = lf_pool_reset(pool, handle);
    }
    CHECK(status == LF_OK && steps >= 0);
    CHECK(lf_pool_step_f32(pool, &handle, 1, ones, y, NULL) == LF_OK);
    CHECK(steps_of_session(handle) == steps + 1);
}

static void check_stream(lf_stream *own) {
    float h[H], c[H], y[H];
    lf_status status = lf_stream_get_state_f32(own, h, c);
    int steps = status == LF_OK ? steps_of(c) : 0;
    if (status == LF_ERR_FORKED) {
        torn++;
        status = lf_stream_reset(own);
    }
    CHECK(status == LF_OK && steps >= 0);
    CHECK(lf_stream_step_f32(own, ones, y) == LF_OK);
    CHECK(lf_stream_get_state_f32(own, h, c) == LF_OK && steps_of(c) == steps + 1);
}

static void *come_first(void *argument) {
    unsigned long long *handle = argument;
    float y[H];
    pthread_barrier_wait(&start);
    CHECK(lf_pool_step_f32(pool, handle, 1, ones, y, NULL) == LF_OK);
    return NULL;
}

/* Two threads are the first to call; then everything there is. */
static void check_all(int argument) {
    pthread_t first[2];
    unsigned long long all[N + 2 * THREADS], more;
    size_t open, ready;
    (void)argument;
    pthread_barrier_init(&start, NULL, 2);
    for (int n = 0; n < 2; n++)
        CHECK(pthread_create(&first[n], NULL, come_first, &handles[n]) == 0);
    for (int n = 0; n < 2; n++)
        CHECK(pthread_join(first[n], NULL) == 0);
    open = lf_pool_handles(pool, all, N + 2 * THREADS);
    CHECK(open == lf_pool_open_count(pool) && open >= N + 2 * THREADS);
    for (int n = 0; n < N; n++)
        CHECK(steps_of_session(handles[n]) == 1 + (n < 2)); /* nobody was using these */
    for (int n = 0; n < 2 * THREADS; n++)
        check_session(busy[n]);
    for (int n = 0; n < THREADS; n++)
        check_stream(streams[n]);
    CHECK(lf_pool_prepare(pool, busy, KEPT, &ready, NULL) == LF_OK && ready == KEPT);
    for (; open < lf_pool_capacity(pool); open++)
        CHECK(lf_pool_open(pool, &more) == LF_OK && steps_of_session(more) == 0);
    CHECK(lf_pool_open(pool, &more) == LF_ERR_FULL);
    if (torn && !check_failed)
        _exit(TORN_STATUS);
}

static void test_busy_threads(void) {
    pthread_t threads[THREADS];
    int with_torn = 0;
    make_pool();
    CHECK(lf_pool_grow(pool, 3 * THREADS) == LF_OK);
    for (int n = 0; n < 2 * THREADS; n++)
        CHECK(lf_pool_open(pool, &busy[n]) == LF_OK);
    pthread_barrier_init(&start, NULL, THREADS + 1);
    for (int n = 0; n < THREADS; n++)
        CHECK(lf_stream_create(model, &streams[n]) == LF_OK &&
              pthread_create(&threads[n], NULL, be_busy, &streams[n]) == 0);
    /* The address sanitizer takes locks where a thread begins, which a child would find taken. */
    pthread_barrier_wait(&start);
    for (int n = 0; n < FORKS; n++) {
        const struct timespec while_they_work = {0, 1000 * (n * 7919 % 977)};
        nanosleep(&while_they_work, NULL);
        const int status = status_of_child(check_all, 0);
        CHECK(status == 0 || status == TORN_STATUS);
        with_torn += status == TORN_STATUS;
    }
    CHECK(with_torn > 0); /* or nothing was shown */
    atomic_store(&over, 1);
    for (int n = 0; n < THREADS; n++)
        CHECK(pthread_join(threads[n], NULL) == 0);
    for (int n = 0; n < 2 * THREADS; n++) /* the parent has noticed nothing */
        CHECK(steps_of_session(busy[n]) > 0 && steps_of_session(busy[n]) % STEPS == 0);
    for (int n = 0; n < THREADS; n++)
        lf_stream_destroy(streams[n]);
    lf_pool_destroy(pool);
}

int main(void) {
    CHECK(counting_lstm(NULL, &model) == LF_OK);
    test_busy_threads();
    lf_model_destroy(model);
    return check_failures("forks of busy threads");
}
