/* What the tests of forks share: work in a child, and a model that counts its steps with a pool of it. */
#ifndef FORKED_H
#define FORKED_H

#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "pool/pool.h"
#include "stream.h"
#include "small_lstm.h"

enum { N = 5, ROOM = 4, KEPT = 2, WORKS = 2, SECONDS = 60, STEPS = 40 };

static lf_model *model;
static lf_pool *pool;
static int room; /* for so many more sessions */
static unsigned long long handles[N];
static const float ones[N * STEPS * I];

/* Does work(argument) in a child; 0: all its checks passed. */
static int status_of_child(void (*work)(int), int argument) {
    int status = 0;
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        alarm(SECONDS);
        check_failed = 0;
        work(argument);
        fflush(stdout);
        _exit(check_failed != 0);
    }
    const int ended = child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status);
    return ended ? WEXITSTATUS(status) : 1;
}

static inline int in_child(void (*work)(int), int argument) {
    return status_of_child(work, argument) == 0;
}

/* The number of steps that it has taken, or -1 where its units have different ones. */
static int steps_of(const float *c) {
    for (int j = 1; j < H; j++)
        if (c[j] != c[0])
            return -1;
    return (int)c[0];
}

static int steps_of_session(unsigned long long handle) {
    float h[H], c[H];
    CHECK(lf_pool_get_state_f32(pool, handle, h, c) == LF_OK);
    return steps_of(c);
}

static void make_pool(void) {
    float ys[N * H];
    size_t ready;
    room = ROOM;
    CHECK(lf_pool_create(model, N + ROOM, KEPT, WORKS, &pool) == LF_OK);
    for (int n = 0; n < N; n++)
        CHECK(lf_pool_open(pool, &handles[n]) == LF_OK);
    CHECK(lf_pool_step_f32(pool, handles, N, ones, ys, NULL) == LF_OK);
    CHECK(lf_pool_prepare(pool, handles, KEPT, &ready, NULL) == LF_OK && ready == KEPT);
}

#endif
