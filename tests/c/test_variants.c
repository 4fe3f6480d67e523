/*
 * Variants of the cell without Python: statuses, the same bits on every ISA, alone and in a pool, and
 * what happens when memory runs out. With sanitizers it also shows that no row or strip is overrun.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "allocations.h"
#include "check.h"
#include "model.h"

enum { MOST = 41, LAYERS = 2, STEPS = 4, SESSIONS = 7 };

static uint32_t seed;

static size_t below(size_t count) {
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % count;
}

static float value(void) { return (float)below(1000) * 1e-3f - 0.5f; }

/* Weights of exactly the size that they are declared to have, for the sanitizer. */
static float *values(size_t count) {
    float *result = malloc(count * sizeof *result);
    for (size_t j = 0; j < count; j++)
        result[j] = value();
    return result;
}

static float *perhaps(size_t count) { return below(2) ? values(count) : NULL; }

typedef struct variant {
    size_t inputs, units, projected, outputs;
    lf_layer_weights layers[LAYERS];
    lf_cell_options cells[LAYERS];
} variant;

static lf_function function(void) {
    return (lf_function){(lf_activation)below(LF_SOFTSIGN + 1), value(), value()};
}

static void draw(variant *v, uint32_t from) {
    seed = from;
    *v = (variant){.inputs = 1 + below(MOST), .units = 1 + below(MOST)};
    v->projected = below(2) ? 1 + below(MOST) : 0;
    v->outputs = v->projected ? v->projected : v->units;
    for (size_t l = 0; l < LAYERS; l++) {
        v->cells[l] = (lf_cell_options){
            .gate = {.name = LF_SIGMOID},
            .input = {.name = LF_TANH},
            .output = {.name = LF_TANH},
            .layer_norm_epsilon = 1e-6f,
        };
        if (below(2))
            v->cells[l].gate = function();
        if (below(2))
            v->cells[l].output = function();
        if (below(2))
            v->cells[l].clip = v->cells[l].cell_clip = 0.4f;
        if (v->projected && below(2))
            v->cells[l].proj_clip = 0.2f;
        v->cells[l].coupling = (lf_coupling)below(3);
        v->layers[l] = (lf_layer_weights){
            .weight_ih = values(4 * v->units * (l ? v->outputs : v->inputs)),
            .weight_hh = values(4 * v->units * v->outputs),
            .bias_ih = perhaps(4 * v->units),
            .weight_hr = v->projected ? values(v->projected * v->units) : NULL,
            .bias_hr = v->projected ? perhaps(v->projected) : NULL,
            .peephole = perhaps(3 * v->units),
            .layer_norm = perhaps(4 * v->units),
            .h_0 = perhaps(v->outputs),
            .c_0 = perhaps(v->units),
            .cell = &v->cells[l],
        };
    }
}

static void drop(variant *v) {
    for (size_t l = 0; l < LAYERS; l++) {
        const lf_layer_weights *w = &v->layers[l];
        const float *const all[] = {w->weight_ih,  w->weight_hh, w->bias_ih,
                                    w->weight_hr,  w->bias_hr,   w->peephole,
                                    w->layer_norm, w->h_0,       w->c_0};
        for (size_t j = 0; j < sizeof all / sizeof *all; j++)
            free((void *)(uintptr_t)all[j]);
    }
}

static lf_status create(const variant *v, lf_weight_type type, const char *isa, lf_model **model) {
    return lf_model_create(v->inputs, v->units, v->projected, LAYERS, v->layers, type, isa, NULL,
                           model);
}

/* A stream, prepared on the way and reset, and a pool of several: the same bits; leaves them in ys. */
static void run(const lf_model *model, const variant *v, const float *xs, float *ys) {
    const size_t y_bytes = STEPS * v->outputs * sizeof(float);
    float *again = values(STEPS * v->outputs), *all_xs = values(SESSIONS * STEPS * v->inputs);
    float *all_ys = values(SESSIONS * STEPS * v->outputs);
    lf_stream *stream;
    lf_pool *pool;
    unsigned long long handles[SESSIONS];
    CHECK(lf_stream_create(model, &stream) == LF_OK);
    CHECK(lf_stream_run_f32(stream, xs, STEPS, ys) == LF_OK);
    CHECK(lf_stream_reset(stream) == LF_OK);
    for (size_t t = 0; t < STEPS; t++) {
        if (t % 2)
            CHECK(lf_stream_prepare(stream) == LF_OK);
        CHECK(lf_stream_step_f32(stream, xs + t * v->inputs, again + t * v->outputs) == LF_OK);
    }
    CHECK(!memcmp(ys, again, y_bytes));
    CHECK(lf_pool_create(model, SESSIONS, 2, 1, &pool) == LF_OK);
    for (size_t s = 0; s < SESSIONS; s++) {
        CHECK(lf_pool_open(pool, &handles[s]) == LF_OK);
        memcpy(all_xs + s * STEPS * v->inputs, xs, STEPS * v->inputs * sizeof(float));
    }
    CHECK(lf_pool_prepare(pool, handles, SESSIONS, NULL, NULL) == LF_OK);
    CHECK(lf_pool_run_f32(pool, handles, SESSIONS, STEPS, NULL, all_xs, all_ys, NULL) == LF_OK);
    for (size_t s = 0; s < SESSIONS; s++)
        CHECK(!memcmp(ys, all_ys + s * STEPS * v->outputs, y_bytes));
    CHECK(lf_pool_reset(pool, handles[0]) == LF_OK);
    CHECK(lf_pool_run_f32(pool, handles, 1, STEPS, NULL, xs, again, NULL) == LF_OK);
    CHECK(!memcmp(ys, again, y_bytes));
    lf_pool_destroy(pool);
    lf_stream_destroy(stream);
    free(again);
    free(all_xs);
    free(all_ys);
}

static void test_bits(void) {
    for (uint32_t n = 0; n < 60; n++) {
        variant v;
        draw(&v, n);
        float *xs = values(STEPS * v.inputs), *expected = values(STEPS * v.outputs);
        float *ys = values(STEPS * v.outputs);
        for (int type = LF_FLOAT32; type <= LF_INT8; type++)
            for (size_t i = lf_isa_count(); i-- > 0;) { /* scalar is the last, and comes first */
                lf_model *model;
                if (lf_isa_missing(i, 0))
                    continue;
                CHECK(create(&v, (lf_weight_type)type, lf_isa_name(i), &model) == LF_OK);
                run(model, &v, xs, ys);
                if (i + 1 == lf_isa_count())
                    memcpy(expected, ys, STEPS * v.outputs * sizeof *ys);
                CHECK(!memcmp(expected, ys, STEPS * v.outputs * sizeof *ys));
                lf_model_destroy(model);
            }
        free(xs);
        free(ys);
        free(expected);
        drop(&v);
    }
}

static void test_statuses(void) {
    variant v;
    lf_model *model;
    uint32_t n = 0;
    draw(&v, n);
    while (!v.projected || !v.layers[0].peephole || !v.layers[0].layer_norm || !v.layers[0].c_0) {
        drop(&v);
        draw(&v, ++n);
    }
    const lf_layer_weights layer = v.layers[0];
    const lf_cell_options cell = v.cells[0];

#define REFUSED(change, status)                                                                    \
    change;                                                                                        \
    CHECK(create(&v, LF_FLOAT32, NULL, &model) == (status));                                       \
    v.layers[0] = layer;                                                                           \
    v.cells[0] = cell

    REFUSED(v.layers[0].weight_hr = NULL, LF_ERR_ARGUMENT);
    REFUSED(v.cells[0].gate.name = (lf_activation)(LF_SOFTSIGN + 1), LF_ERR_ARGUMENT);
    REFUSED(v.cells[0].gate.alpha = NAN, LF_ERR_ARGUMENT);
    REFUSED(v.cells[0].clip = -1, LF_ERR_ARGUMENT);
    REFUSED(v.cells[0].cell_clip = INFINITY, LF_ERR_ARGUMENT);
    REFUSED(v.cells[0].coupling = (lf_coupling)3, LF_ERR_ARGUMENT);
    REFUSED(v.cells[0].layer_norm_epsilon = 0, LF_ERR_ARGUMENT);
    float nonfinite[4 * MOST] = {NAN};
    REFUSED(v.layers[0].peephole = nonfinite, LF_ERR_NONFINITE);
    REFUSED(v.layers[0].layer_norm = nonfinite, LF_ERR_NONFINITE);
    REFUSED(v.layers[0].h_0 = nonfinite, LF_ERR_NONFINITE);
    REFUSED(v.layers[0].c_0 = nonfinite, LF_ERR_NONFINITE);
    REFUSED(v.layers[0].bias_hr = nonfinite, LF_ERR_NONFINITE);
    CHECK(lf_model_create(v.inputs, v.units, 0, LAYERS, v.layers, LF_FLOAT32, NULL, NULL, &model) ==
          LF_ERR_ARGUMENT);
    /* one weight of the last projection that float16 can't hold */
    float *const last =
        (float *)(uintptr_t)&v.layers[LAYERS - 1].weight_hr[v.projected * v.units - 1];
    const float kept = *last;
    *last = 65519; /* rounds to the largest */
    CHECK(create(&v, LF_FLOAT16, NULL, &model) == LF_OK);
    lf_model_destroy(model);
    *last = 65520;
    CHECK(create(&v, LF_FLOAT16, NULL, &model) == LF_ERR_RANGE);
    *last = kept;

    for (int n_allowed = 0;; n_allowed++) { /* each allocation fails in turn */
        allocations = 0;
        allowed = n_allowed;
        const lf_status status = create(&v, LF_INT8, NULL, &model);
        allowed = PLENTY;
        if (status == LF_OK) {
            CHECK(n_allowed >= 4);
            lf_model_destroy(model);
            break;
        }
        CHECK(status == LF_ERR_MEMORY);
    }
    drop(&v);
}

int main(void) {
    test_bits();
    test_statuses();
    return check_failures("test_variants");
}
