/*
 * Long runs in pieces: the same bits; what go_on stops has not been; the sessions are in use all the time; and no
 * memory is a status.
 */
#include <stdlib.h>
#include <string.h>

#include "allocations.h"
#include "check.h"
#include "pool/pool.h"
#include "small_lstm.h"

enum { SESSIONS = 3 };

static lf_model *model;
static lf_stream *stream;
static lf_pool *pool;
static unsigned long long handles[SESSIONS];
static size_t steps; /* a bit more than two pieces */
static float *xs, *ys, *expected;

/* What go_on is told, and what it has seen. */
typedef struct turn {
    int stops_at, count, others_came_in;
} turn;

static int go_on(void *context) {
    turn *t = context;
    float y[SESSIONS * H], h[L * H], c[L * H];
    t->others_came_in |= stream && lf_stream_step_f32(stream, xs, y) != LF_ERR_BUSY;
    t->others_came_in |= !stream && lf_pool_step_f32(pool, handles, 1, xs, y, NULL) != LF_ERR_BUSY;
    t->others_came_in |= !stream && lf_pool_get_state_f32(pool, handles[0], h, c) != LF_ERR_BUSY;
    t->others_came_in |= !stream && lf_pool_grow(pool, 1) != LF_ERR_BUSY;
    return ++t->count != t->stops_at;
}

static void frames(float *to, size_t count) {
    uint32_t state = 5;
    for (size_t n = 0; n < count; n++)
        to[n] = pseudo_random(&state);
}

static int same(const float *a, const float *b, size_t count) {
    return memcmp(a, b, count * sizeof *a) == 0;
}

static void test_stream(void) {
    float y[H], h[L * H], c[L * H], h_now[L * H], c_now[L * H];
    steps = 2 * lf_piece_steps(model, 1) + 3;
    xs = malloc(steps * I * sizeof *xs);
    ys = malloc(steps * H * sizeof *ys);
    expected = malloc(steps * H * sizeof *expected);
    frames(xs, steps * I);
    CHECK(lf_stream_create(model, &stream) == LF_OK);
    CHECK(lf_stream_step_f32(stream, xs, y) == LF_OK);
    CHECK(lf_stream_get_state_f32(stream, h, c) == LF_OK);
    CHECK(lf_stream_run_f32(stream, xs, steps, expected) == LF_OK);

    for (int stops_at = 0; stops_at <= 2; stops_at++) {
        turn t = {.stops_at = stops_at};
        CHECK(lf_stream_set_state_f32(stream, h, c) == LF_OK && lf_stream_prepare(stream) == LF_OK);
        const int status = lf_stream_run_in_pieces(stream, xs, steps, ys, go_on, &t);
        CHECK(status == (stops_at ? LF_STOPPED : LF_OK) && t.count == (stops_at ? stops_at : 2));
        CHECK(!t.others_came_in);
        CHECK(lf_stream_get_state_f32(stream, h_now, c_now) == LF_OK);
        CHECK((same(h, h_now, L * H) && same(c, c_now, L * H)) == (stops_at != 0));
        CHECK(stops_at || same(ys, expected, steps * H));
    }
    turn t = {.stops_at = 1};
    CHECK(lf_stream_run_in_pieces(stream, xs, 2, ys, go_on, &t) == LF_OK && !t.count);
    allowed = allocations;
    CHECK(lf_stream_run_in_pieces(stream, xs, steps, ys, go_on, &t) == (int)LF_ERR_MEMORY);
    allowed = PLENTY;
    CHECK(lf_stream_run_in_pieces(stream, xs, steps, xs, go_on, &t) == (int)LF_ERR_OVERLAP);
    CHECK(lf_stream_reset(stream) == LF_OK);
    lf_stream_destroy(stream);
    stream = NULL;
    free(xs);
    free(ys);
    free(expected);
}

static void reset_pool(void) {
    float y[SESSIONS * H];
    for (size_t n = 0; n < SESSIONS; n++)
        CHECK(lf_pool_reset(pool, handles[n]) == LF_OK);
    CHECK(lf_pool_step_f32(pool, handles, SESSIONS, xs, y, NULL) == LF_OK);
    CHECK(lf_pool_prepare(pool, handles, SESSIONS, NULL, NULL) == LF_OK);
}

static void test_pool(void) {
    float h[SESSIONS][L * H], c[SESSIONS][L * H], h_now[L * H], c_now[L * H];
    size_t bad = 99;
    steps = 2 * lf_piece_steps(model, SESSIONS) + 3;
    const size_t lengths[SESSIONS] = {steps, 0, steps / 2};
    xs = malloc(SESSIONS * steps * I * sizeof *xs);
    ys = malloc(SESSIONS * steps * H * sizeof *ys);
    expected = malloc(SESSIONS * steps * H * sizeof *expected);
    frames(xs, SESSIONS * steps * I);
    CHECK(lf_pool_create(model, SESSIONS, 2, 2, &pool) == LF_OK);
    for (size_t n = 0; n < SESSIONS; n++)
        CHECK(lf_pool_open(pool, &handles[n]) == LF_OK);
    reset_pool();
    CHECK(lf_pool_run_f32(pool, handles, SESSIONS, steps, lengths, xs, expected, NULL) == LF_OK);
    reset_pool();
    for (size_t n = 0; n < SESSIONS; n++)
        CHECK(lf_pool_get_state_f32(pool, handles[n], h[n], c[n]) == LF_OK);
    for (int stops_at = 0; stops_at <= 2; stops_at++) {
        turn t = {.stops_at = stops_at};
        reset_pool();
        const int status =
            lf_pool_run_in_pieces(pool, handles, SESSIONS, steps, lengths, xs, ys, &bad, go_on, &t);
        CHECK(status == (stops_at ? LF_STOPPED : LF_OK) && t.count == (stops_at ? stops_at : 2));
        CHECK(!t.others_came_in);
        for (size_t n = 0; n < SESSIONS; n++) {
            CHECK(lf_pool_get_state_f32(pool, handles[n], h_now, c_now) == LF_OK);
            CHECK((same(h[n], h_now, L * H) && same(c[n], c_now, L * H)) ==
                  (stops_at != 0 || lengths[n] == 0));
        }
        CHECK(stops_at || same(ys, expected, SESSIONS * steps * H));
    }
    turn t = {.stops_at = 1};
    allowed = allocations;
    CHECK(lf_pool_run_in_pieces(pool, handles, SESSIONS, steps, lengths, xs, ys, &bad, go_on, &t) ==
          (int)LF_ERR_MEMORY);
    CHECK(bad == SESSIONS); /* it is none of them */
    allowed = PLENTY;
    CHECK(lf_pool_run_in_pieces(pool, handles, 0, steps, NULL, xs, ys, &bad, go_on, &t) == LF_OK);
    handles[1] = 1;
    CHECK(lf_pool_run_in_pieces(pool, handles, SESSIONS, steps, lengths, xs, ys, &bad, go_on, &t) ==
              (int)LF_ERR_HANDLE &&
          bad == 1 && !t.count);
    lf_pool_destroy(pool);
    free(xs);
    free(ys);
    free(expected);
}

int main(void) {
    CHECK(small_lstm(NULL, LF_FLOAT32, &model) == LF_OK);
    test_stream();
    test_pool();
    lf_model_destroy(model);
    return check_failures("pieces");
}
