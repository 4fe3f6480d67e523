/*
 * What a caller's memory must hold where there is a projection: outputs are [P], h is [L][P] and c is
 * [L][H]. Each buffer has just that size, between guards; and what is in it is read by these shapes.
 */
#include <math.h>
#include <string.h>

#include "check.h"
#include "lstm_fast.h"
#include "pseudo_random.h"

enum { I = 3, H = 29, P = 5, L = 2, T = 4, N = 3, GUARD = 40, MOST = 512 };

static float weight_ih[L][4 * H * P], weight_hh[L][4 * H * P], weight_hr[L][P * H];

/* A buffer of `count` floats with guards on both sides. */
typedef struct guarded {
    float memory[MOST];
    size_t count;
} guarded;

static float *between_guards(guarded *buffer, size_t count) {
    buffer->count = count;
    for (size_t n = 0; n < MOST; n++)
        buffer->memory[n] = 1e9f + (float)n * 64;
    return buffer->memory + GUARD;
}

/* Whether all of the buffer was written, and nothing beside it. */
static int is_filled(const guarded *buffer) {
    for (size_t n = 0; n < MOST; n++) {
        const int is_inside = n >= GUARD && n < GUARD + buffer->count;
        if ((buffer->memory[n] == 1e9f + (float)n * 64) == is_inside)
            return 0;
    }
    return 1;
}

static int same(const float *a, const float *b, size_t count) {
    return memcmp(a, b, count * sizeof *a) == 0;
}

static lf_model *projected_lstm(void) {
    uint32_t state = 7;
    lf_layer_weights layers[L];
    lf_model *model = NULL;
    for (int l = 0; l < L; l++) {
        for (int j = 0; j < 4 * H * P; j++) {
            weight_ih[l][j] = pseudo_random(&state);
            weight_hh[l][j] = pseudo_random(&state);
        }
        for (int j = 0; j < P * H; j++)
            weight_hr[l][j] = pseudo_random(&state);
        layers[l] = (lf_layer_weights){
            .weight_ih = weight_ih[l], .weight_hh = weight_hh[l], .weight_hr = weight_hr[l]};
    }
    CHECK(lf_model_create(I, H, P, L, layers, LF_FLOAT32, NULL, NULL, &model) == LF_OK);
    return model;
}

static void frames(float *xs, size_t count) {
    uint32_t state = 3;
    for (size_t n = 0; n < count; n++)
        xs[n] = pseudo_random(&state);
}

static void test_stream(const lf_model *model) {
    static guarded of_y, of_ys, of_h, of_c;
    float *y = between_guards(&of_y, P), *ys = between_guards(&of_ys, T * P);
    float *h = between_guards(&of_h, L * P), *c = between_guards(&of_c, L * H);
    float xs[T * I];
    lf_stream *stream = NULL;
    frames(xs, T * I);
    CHECK(lf_stream_create(model, &stream) == LF_OK);
    CHECK(lf_stream_step_f32(stream, xs, y) == LF_OK && is_filled(&of_y));
    CHECK(lf_stream_reset(stream) == LF_OK);
    CHECK(lf_stream_run_f32(stream, xs, T, ys) == LF_OK && is_filled(&of_ys));
    CHECK(same(ys, y, P)); /* the first of T rows */
    CHECK(lf_stream_get_state_f32(stream, h, c) == LF_OK && is_filled(&of_h) && is_filled(&of_c));
    CHECK(same(h + (L - 1) * P, ys + (T - 1) * P, P)); /* the last layer's h is the last output */

    /* What is set is what is read: were h taken for [L][H], it would read the guards. */
    CHECK(lf_stream_reset(stream) == LF_OK);
    CHECK(lf_stream_set_state_f32(stream, h, c) == LF_OK);
    float h_back[L * P], c_back[L * H];
    CHECK(lf_stream_get_state_f32(stream, h_back, c_back) == LF_OK);
    CHECK(same(h_back, h, L * P) && same(c_back, c, L * H));
    lf_stream_destroy(stream);
}

static void test_pool(const lf_model *model) {
    static guarded of_y, of_ys, of_h, of_c;
    float *y = between_guards(&of_y, N * P), *ys = between_guards(&of_ys, N * T * P);
    float *h = between_guards(&of_h, L * P), *c = between_guards(&of_c, L * H);
    float xs[N * T * I], expected[T * P];
    unsigned long long handles[N];
    lf_pool *pool = NULL;
    lf_stream *stream = NULL;
    frames(xs, N * T * I);
    CHECK(lf_pool_create(model, N, 1, 1, &pool) == LF_OK);
    CHECK(lf_stream_create(model, &stream) == LF_OK);
    for (size_t n = 0; n < N; n++)
        CHECK(lf_pool_open(pool, &handles[n]) == LF_OK);
    CHECK(lf_pool_step_f32(pool, handles, N, xs, y, NULL) == LF_OK && is_filled(&of_y));
    for (size_t n = 0; n < N; n++)
        CHECK(lf_pool_reset(pool, handles[n]) == LF_OK);
    CHECK(lf_pool_run_f32(pool, handles, N, T, NULL, xs, ys, NULL) == LF_OK && is_filled(&of_ys));
    for (size_t n = 0; n < N; n++) { /* row n is at n * T * P */
        CHECK(lf_stream_reset(stream) == LF_OK);
        CHECK(lf_stream_run_f32(stream, xs + n * T * I, T, expected) == LF_OK);
        CHECK(same(ys + n * T * P, expected, T * P));
    }
    CHECK(lf_pool_get_state_f32(pool, handles[N - 1], h, c) == LF_OK);
    CHECK(is_filled(&of_h) && is_filled(&of_c));
    CHECK(same(h + (L - 1) * P, expected + (T - 1) * P, P));
    CHECK(lf_pool_set_state_f32(pool, handles[0], h, c) == LF_OK);
    float h_back[L * P], c_back[L * H];
    CHECK(lf_pool_get_state_f32(pool, handles[0], h_back, c_back) == LF_OK);
    CHECK(same(h_back, h, L * P) && same(c_back, c, L * H));
    lf_stream_destroy(stream);
    lf_pool_destroy(pool);
}

/* Negative control: who takes outputs or h for [H] finds guards there. */
static void test_another_shape_shows(const lf_model *model) {
    static guarded of_h, of_c;
    float *h = between_guards(&of_h, L * H), *c = between_guards(&of_c, L * H);
    lf_stream *stream = NULL;
    CHECK(lf_stream_create(model, &stream) == LF_OK);
    CHECK(lf_stream_get_state_f32(stream, h, c) == LF_OK);
    CHECK(!is_filled(&of_h) && is_filled(&of_c));
    CHECK(fabsf(h[(L - 1) * H]) >= 1e9f);
    lf_stream_destroy(stream);
}

int main(void) {
    lf_model *model = projected_lstm();
    test_stream(model);
    test_pool(model);
    test_another_shape_shows(model);
    lf_model_destroy(model);
    return check_failures("test_projection");
}
