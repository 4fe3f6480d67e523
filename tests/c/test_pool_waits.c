/*
 * Calls that wait for another one: for a workspace, until a pool has grown, until another thread has put it in order.
 * They fall asleep, and are woken. -DLF_TEST_REAL_TIME: on one CPU, and who waits has the higher real-time priority, so
 * that the other one goes on only while it sleeps; where it never does, as with -DLF_TEST_SPINS, the alarm ends this.
 */
#define _GNU_SOURCE /* affinity */
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "pool/pool.h"
#include "small_lstm.h"
#include "tuning.h"
#include "waits.h"

#ifdef LF_TEST_SPINS
enum { SECONDS = 3 };
#else
enum { SECONDS = 60 };
#endif
enum { CALLERS = 6, CALLS = 3000 };

static lf_model *model;
static lf_pool *pool;
static unsigned long long handles[CALLERS];
static _Atomic int asleep; /* how often somebody was about to be */
static sem_t is_held;

void __real_lf_sleep_while(_Atomic uint32_t *word, uint32_t value);
void __wrap_lf_sleep_while(_Atomic uint32_t *word, uint32_t value);
void __wrap_lf_sleep_while(_Atomic uint32_t *word, uint32_t value) {
    atomic_fetch_add(&asleep, 1);
#ifdef LF_TEST_SPINS
    (void)word, (void)value;
    sched_yield();
#else
    __real_lf_sleep_while(word, value);
#endif
}

/* ---- one thread has what the other one waits for ---- */

/* The other one comes now, and what it waits for is there only after it has fallen asleep. */
static void let_the_other_one_come(void) {
    sem_post(&is_held);
#ifndef LF_TEST_REAL_TIME /* there the other one has the CPU until it sleeps */
    const struct timespec a_little = {0, 100000};
    while (!atomic_load(&asleep))
        nanosleep(&a_little, NULL);
#endif
}

static int between_pieces(void *context) {
    int *const calls = context;
    if (!(*calls)++)
        let_the_other_one_come();
    return 1;
}

static void hold_workspace(void) {
    enum { MOST = 1 << 13 };
    static float xs[MOST * I], ys[MOST * H];
    const size_t steps = lf_piece_steps(model, 1) + 1;
    int calls = 0;
    CHECK(steps <= MOST);
    CHECK(lf_pool_run_in_pieces(pool, handles, 1, steps, NULL, xs, ys, NULL, between_pieces,
                                &calls) == LF_OK);
    CHECK(calls == 1);
}

static void wait_for_workspace(void) {
    static const float x[I];
    float y[H];
    CHECK(lf_pool_step_f32(pool, &handles[1], 1, x, y, NULL) == LF_OK);
}

static void hold_growth(void) {
    CHECK(lf_pool_enter_alone(pool));
    let_the_other_one_come();
    lf_pool_leave_alone(pool);
}

static void wait_for_growth(void) { CHECK(lf_pool_capacity(pool) == CALLERS); }

/* As the first thread of a child that comes, from where all is in order. */
static void hold_mending(void) {
    atomic_fetch_add(&lf_process_number, 1);
    atomic_store(&pool->mending, lf_process());
    let_the_other_one_come();
    lf_pool_end_mending(pool);
}

static void wait_for_mending(void) { CHECK(lf_pool_open_count(pool) == CALLERS); }

static const struct meeting {
    void (*hold)(void);
    void (*wait)(void);
} meetings[] = {{hold_workspace, wait_for_workspace},
                {hold_growth, wait_for_growth},
                {hold_mending, wait_for_mending}};

static void *hold(void *argument) {
    const struct meeting *const meeting = argument;
    meeting->hold();
    return NULL;
}

static void *wait(void *argument) {
    const struct meeting *const meeting = argument;
    while (sem_wait(&is_held)) { /* interrupted */
    }
    meeting->wait();
    return NULL;
}

/* 0: they may not run at such priorities here. */
static int begin(pthread_t *thread, void *(*work)(void *), const struct meeting *meeting,
                 int priority) {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
#ifdef LF_TEST_REAL_TIME
    const struct sched_param parameter = {.sched_priority = priority};
    cpu_set_t all, one;
    size_t cpu = 0;
    CHECK(sched_getaffinity(0, sizeof all, &all) == 0);
    while (!CPU_ISSET(cpu, &all))
        cpu++;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    CHECK(pthread_attr_setaffinity_np(&attributes, sizeof one, &one) == 0 &&
          pthread_attr_setinheritsched(&attributes, PTHREAD_EXPLICIT_SCHED) == 0 &&
          pthread_attr_setschedpolicy(&attributes, SCHED_FIFO) == 0 &&
          pthread_attr_setschedparam(&attributes, &parameter) == 0);
#else
    (void)priority;
#endif
    const int failed = pthread_create(thread, &attributes, work, (void *)(uintptr_t)meeting);
    pthread_attr_destroy(&attributes);
    return !failed;
}

static int test_meetings(void) {
    for (size_t n = 0; n < sizeof meetings / sizeof *meetings; n++) {
        pthread_t waiting, holding;
        atomic_store(&asleep, 0);
        sem_init(&is_held, 0, 0);
        if (!begin(&waiting, wait, &meetings[n], 2))
            return 0;
        CHECK(begin(&holding, hold, &meetings[n], 1));
        CHECK(pthread_join(waiting, NULL) == 0 && pthread_join(holding, NULL) == 0);
        CHECK(atomic_load(&asleep) > 0);
        CHECK(atomic_load(&pool->users) == 0);
        sem_destroy(&is_held);
    }
    return 1;
}

/* ---- nobody is forgotten ---- */

#ifndef LF_TEST_REAL_TIME
static int takes;

/* What it waits for is given back just after it has looked for the last time before it falls asleep. */
static uint32_t take_too_early(lf_pool *of) {
    if (++takes == LF_TURNS_AWAKE) {
        CHECK(lf_pool_enter(of));
        lf_pool_leave(of, LF_OK);
    }
    return takes > LF_TURNS_AWAKE ? 7 : 0;
}

static void test_a_wake_that_comes_before_sleep(void) {
    atomic_store(&asleep, 0);
    CHECK(lf_pool_wait_for(pool, take_too_early) == 7);
    CHECK(atomic_load(&asleep) == 1 && takes == LF_TURNS_AWAKE + 1);
    CHECK(atomic_load(&pool->users) == 0);
}

/* Again where it meets growth. */
#define IN_TIME(call)                                                                              \
    do {                                                                                           \
        lf_status status;                                                                          \
        while ((status = (call)) == LF_ERR_BUSY) {                                                 \
        }                                                                                          \
        CHECK(status == LF_OK);                                                                    \
    } while (0)

static void *call_often(void *argument) {
    unsigned long long *const own = argument;
    static const float x[I];
    float y[H];
    size_t ready;
    for (int n = 0; n < CALLS; n++) {
        IN_TIME(lf_pool_prepare(pool, own, 1, &ready, NULL));
        IN_TIME(lf_pool_step_f32(pool, own, 1, x, y, NULL));
        if (n % 16 == 0 && lf_pool_enter_alone(pool))
            lf_pool_leave_alone(pool);
        CHECK(lf_pool_open_count(pool) == CALLERS);
        CHECK(lf_pool_capacity(pool) == CALLERS);
    }
    return NULL;
}

static void test_many_callers(void) {
    pthread_t threads[CALLERS];
    for (int n = 0; n < CALLERS; n++)
        CHECK(pthread_create(&threads[n], NULL, call_often, &handles[n]) == 0);
    for (int n = 0; n < CALLERS; n++)
        CHECK(pthread_join(threads[n], NULL) == 0);
    CHECK(atomic_load(&pool->users) == 0);
}
#endif

int main(void) {
    alarm(SECONDS);
    CHECK(small_lstm("scalar", LF_FLOAT32, &model) == LF_OK);
    CHECK(lf_pool_create(model, CALLERS, 1, 1, &pool) == LF_OK);
    for (int n = 0; n < CALLERS; n++)
        CHECK(lf_pool_open(pool, &handles[n]) == LF_OK);
    if (!test_meetings()) {
        puts("threads may not have a real-time priority here");
        return 77;
    }
#ifndef LF_TEST_REAL_TIME
    test_a_wake_that_comes_before_sleep();
    test_many_callers();
#endif
    lf_pool_destroy(pool);
    lf_model_destroy(model);
    return check_failures("pool waits");
}
