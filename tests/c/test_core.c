/*
 * The core without Python: statuses, exactness where it can be said in C, and that the hot path
 * allocates nothing. Linked with --wrap=malloc and so on, so that allocations can be counted.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "allocations.h"
#include "check.h"
#include <fenv.h>
#include <math.h>

#include "cpu/cpu.h"
#include "forks.h"
#include "stream.h"
#include "lstm_fast_probes.h"
#include "pseudo_random.h"

enum { I = 5, H = 19, L = 2, T = 7 };

static float weight_ih[L][4 * H * H], weight_hh[L][4 * H * H], bias[L][4 * H];
static lf_layer_weights layers[L];
static float xs[T * I + 1];
static uint32_t random_state = 1;

static void make_weights(void) {
    for (int l = 0; l < L; l++) {
        for (int j = 0; j < 4 * H * H; j++) {
            weight_ih[l][j] = pseudo_random(&random_state);
            weight_hh[l][j] = pseudo_random(&random_state);
        }
        for (int j = 0; j < 4 * H; j++)
            bias[l][j] = pseudo_random(&random_state);
        layers[l] = (lf_layer_weights){.weight_ih = weight_ih[l],
                                       .weight_hh = weight_hh[l],
                                       .bias_ih = bias[l],
                                       .bias_hh = bias[l]};
    }
    for (int j = 0; j < T * I + 1; j++)
        xs[j] = 2 * pseudo_random(&random_state);
}

/* Every other pass descends, unless there was a pause. */
static void check_turns(void) {
    const uint64_t ever = UINT64_MAX;
    const int first = lf_next_descends(ever);
    CHECK(lf_next_descends(ever) == !first && lf_next_descends(ever) == first);
    CHECK(!lf_next_descends(0) && lf_next_descends(ever) == !first); /* 0: it doesn't count */
    CHECK(lf_next_descends_at_once(1) == first && !lf_next_descends_at_once(0));
    CHECK(lf_next_descends(ever) == !first);
#if defined(__x86_64__)
    for (int n = 0; n < 4; n++)
        CHECK(!lf_next_descends(1)); /* each is later than that */
    CHECK(lf_next_descends(ever));
#endif
}

static lf_status create(const char *isa, lf_model **model) {
    return lf_model_create(I, H, 0, L, layers, LF_FLOAT32, isa, NULL, model);
}

static void check_isas(void) {
    size_t index = 99;
    CHECK(lf_isa_choose("scalar", &index) == LF_OK && index == lf_isa_count() - 1);
    CHECK(lf_isa_choose("sse9", &index) == LF_ERR_ISA_UNKNOWN);
    CHECK(lf_isa_choose(NULL, NULL) == LF_ERR_ARGUMENT);
    setenv("LSTM_FAST_ISA", "scalar", 1);
    CHECK(lf_isa_choose(NULL, &index) == LF_OK && index == lf_isa_count() - 1);
    setenv("LSTM_FAST_ISA", "sse9", 1);
    CHECK(lf_isa_choose(NULL, &index) == LF_ERR_ISA_UNKNOWN);
    CHECK(lf_isa_choose("scalar", &index) == LF_OK); /* a name goes before the environment */
    setenv("LSTM_FAST_ISA", "", 1);
    CHECK(lf_isa_choose(NULL, &index) == LF_OK);
    unsetenv("LSTM_FAST_ISA");
    CHECK(lf_isa_choose(NULL, &index) == LF_OK && !lf_isa_missing(index, 0));
    CHECK(lf_isa_name(lf_isa_count()) == NULL && lf_isa_missing(lf_isa_count(), 0) == NULL);
}

/* The first and the last row of each gate, in each layer. */
static void check_biases(void) {
    lf_model *model = NULL;
    for (int l = 0; l < L; l++)
        for (int gate = 0; gate < LF_GATES; gate++)
            for (int row = gate * H; row < (gate + 1) * H; row += H - 1) {
                const float kept = bias[l][row];
                bias[l][row] = gate % 2 ? NAN : INFINITY;
                CHECK(create(NULL, &model) == LF_ERR_NONFINITE);
                bias[l][row] = kept;
            }
    CHECK(create(NULL, &model) == LF_OK);
    lf_model_destroy(model);
}

/* int8: 32 bits hold a sum of so many products of 127 and 255, which there may be over x, h and r. */
static void check_widest(void) {
    enum { MOST = 66311 };
    float *zeros = calloc(4 * (MOST + 1), sizeof *zeros);
    for (size_t more = 0; more < 2; more++) {
        const size_t wide = MOST + more;
        const size_t sizes[][3] = {{wide, 1, 0}, {1, 1, wide}, {1, wide, 1}}; /* I, H, projected */
        for (size_t n = 0; n < sizeof sizes / sizeof *sizes; n++)
            for (int type = LF_FLOAT32; type <= LF_INT8; type++) {
                const lf_layer_weights layer = {.weight_ih = zeros,
                                                .weight_hh = zeros,
                                                .weight_hr = sizes[n][2] ? zeros : NULL};
                lf_model *model = NULL;
                CHECK(lf_model_create(sizes[n][0], sizes[n][1], sizes[n][2], 1, &layer,
                                      (lf_weight_type)type, NULL, NULL,
                                      &model) == (more && type == LF_INT8 ? LF_ERR_SHAPE : LF_OK));
                lf_model_destroy(model);
            }
    }
    free(zeros);
}

static void check_create(void) {
    lf_model *model = NULL;
    lf_stream *stream = NULL;
    CHECK(lf_model_create(0, H, 0, L, layers, LF_FLOAT32, NULL, NULL, &model) == LF_ERR_SHAPE);
    CHECK(lf_model_create(I, 0, 0, L, layers, LF_FLOAT32, NULL, NULL, &model) == LF_ERR_SHAPE);
    CHECK(lf_model_create(I, H, 0, 0, layers, LF_FLOAT32, NULL, NULL, &model) == LF_ERR_SHAPE);
    CHECK(lf_model_create(SIZE_MAX, H, 0, L, layers, LF_FLOAT32, NULL, NULL, &model) ==
          LF_ERR_SHAPE);
    CHECK(lf_model_create(I, H, 0, L, NULL, LF_FLOAT32, NULL, NULL, &model) == LF_ERR_ARGUMENT);
    CHECK(lf_model_create(I, H, 0, L, layers, LF_FLOAT32, NULL, NULL, NULL) == LF_ERR_ARGUMENT);
    CHECK(lf_model_create(I, H, 0, L, layers, (lf_weight_type)3, NULL, NULL, &model) ==
          LF_ERR_ARGUMENT);
    CHECK(create("sse9", &model) == LF_ERR_ISA_UNKNOWN);
    const lf_layer_weights kept = layers[1];
    layers[1].weight_hh = NULL;
    CHECK(create(NULL, &model) == LF_ERR_ARGUMENT);
    layers[1] = kept;
    weight_hh[1][17] = NAN;
    CHECK(create(NULL, &model) == LF_ERR_NONFINITE);
    weight_hh[1][17] = 0;
    bias[0][3] = 3e38f; /* finite, but not twice */
    CHECK(create(NULL, &model) == LF_ERR_NONFINITE);
    bias[0][3] = 0;
    check_biases();
    check_widest();
    weight_hh[0][5] = 65520;
    CHECK(lf_model_create(I, H, 0, L, layers, LF_FLOAT16, NULL, NULL, &model) == LF_ERR_RANGE);
    CHECK(lf_model_create(I, H, 0, L, layers, LF_INT8, NULL, NULL, &model) == LF_OK);
    lf_model_destroy(model);
    model = NULL;
    weight_hh[0][5] = 0;
    allowed = 0;
    CHECK(create(NULL, &model) == LF_ERR_MEMORY);
    allowed = PLENTY;
    CHECK(model == NULL);
    CHECK(create(NULL, &model) == LF_OK);
    allowed = 0;
    CHECK(lf_stream_create(model, &stream) == LF_ERR_MEMORY && stream == NULL);
    allowed = PLENTY;
    CHECK(lf_stream_create(NULL, &stream) == LF_ERR_ARGUMENT);
    CHECK(lf_stream_create(model, NULL) == LF_ERR_ARGUMENT);
    lf_model_destroy(model);
    lf_model_destroy(NULL);
    lf_stream_destroy(NULL);
    for (int status = -1; status <= LF_ERR_RANGE + 1; status++)
        CHECK(lf_status_text(status)[0]);
}

static void check_stream(const char *isa, lf_weight_type type) {
    lf_model *model, *other_model;
    lf_stream *stream, *twin, *other;
    float ys[T * H], y[H + 1], h[L * H], c[L * H], h2[L * H], c2[L * H];
    CHECK(lf_model_create(I, H, 0, L, layers, type, isa, NULL, &model) == LF_OK);
    CHECK(lf_model_create(I, H, 0, L, layers, type, isa, NULL, &other_model) == LF_OK);
    CHECK(lf_stream_create(model, &stream) == LF_OK && lf_stream_create(model, &twin) == LF_OK);
    CHECK(lf_stream_create(other_model, &other) == LF_OK);
    CHECK(strcmp(lf_model_isa(model), isa) == 0);
    CHECK(lf_model_weight_type(model) == type);
    CHECK(lf_model_packed_bytes(model) >= 4 * H * (I + 3 * H + 2 * sizeof(float)));

    const int before = allocations;
    CHECK(lf_stream_run_f32(stream, xs, T, ys) == LF_OK);
    for (int t = 0; t < T; t++) {
        /* from and to addresses that no vector would like */
        char x_bytes[I * sizeof(float) + 1], y_bytes[H * sizeof(float) + 1];
        memcpy(x_bytes + 1, xs + t * I, I * sizeof(float));
        CHECK(lf_stream_step_f32(twin, (float *)(void *)(x_bytes + 1),
                                 (float *)(void *)(y_bytes + 1)) == LF_OK);
        CHECK(memcmp(y_bytes + 1, ys + t * H, H * sizeof(float)) == 0);
    }
    CHECK(lf_stream_get_state_f32(stream, h, c) == LF_OK);
    CHECK(lf_stream_get_state_f32(twin, h2, c2) == LF_OK);
    CHECK(memcmp(h, h2, sizeof h) == 0 && memcmp(c, c2, sizeof c) == 0);
    CHECK(memcmp(h + (L - 1) * H, ys + (T - 1) * H, H * sizeof(float)) == 0);

    /* what fails changes nothing */
    CHECK(lf_stream_step_f32(NULL, xs, y) == LF_ERR_ARGUMENT);
    CHECK(lf_stream_step_f32(stream, NULL, y) == LF_ERR_ARGUMENT);
    CHECK(lf_stream_step_f32(stream, xs, NULL) == LF_ERR_ARGUMENT);
    CHECK(lf_stream_step_f32(stream, ys, ys) == LF_ERR_OVERLAP);
    CHECK(lf_stream_step_f32(stream, ys + H - 1, ys) == LF_ERR_OVERLAP);
    CHECK(lf_stream_run_f32(stream, NULL, 0, NULL) == LF_OK);
    CHECK(lf_stream_copy(stream, other) == LF_ERR_MODEL);
    CHECK(lf_stream_copy(stream, stream) == LF_OK);
    atomic_store(&stream->inside, 2 * lf_process()); /* as if a step were under way */
    CHECK(lf_stream_step_f32(stream, xs, y) == LF_ERR_BUSY);
    CHECK(lf_stream_reset(stream) == LF_ERR_BUSY);
    CHECK(lf_stream_get_state_f32(stream, h2, c2) == LF_ERR_BUSY);
    CHECK(lf_stream_set_state_f32(stream, h2, c2) == LF_ERR_BUSY);
    CHECK(lf_stream_copy(stream, twin) == LF_ERR_BUSY);
    CHECK(lf_stream_copy(twin, stream) == LF_ERR_BUSY);
    CHECK(lf_stream_prepare(stream) == LF_ERR_BUSY);
    atomic_store(&stream->inside, 0);
    CHECK(lf_stream_get_state_f32(stream, h2, c2) == LF_OK);
    CHECK(memcmp(h, h2, sizeof h) == 0 && memcmp(c, c2, sizeof c) == 0);

    CHECK(lf_stream_reset(twin) == LF_OK);
    CHECK(lf_stream_copy(twin, stream) == LF_OK);
    CHECK(lf_stream_get_state_f32(twin, h2, c2) == LF_OK);
    CHECK(memcmp(h, h2, sizeof h) == 0 && memcmp(c, c2, sizeof c) == 0);
    CHECK(lf_stream_reset(stream) == LF_OK);
    CHECK(lf_stream_run_f32(stream, xs, 1, y) == LF_OK && memcmp(y, ys, H * sizeof(float)) == 0);

    /* what was prepared from another state is void */
    CHECK(lf_stream_prepare(twin) == LF_OK);
    CHECK(lf_stream_copy(twin, stream) == LF_OK);
    CHECK(lf_stream_step_f32(twin, xs + I, y) == LF_OK);
    CHECK(memcmp(y, ys + H, H * sizeof(float)) == 0);

    /* prepare does half the work: the step takes what it left, right or wrong */
    CHECK(lf_stream_copy(twin, stream) == LF_OK);
    CHECK(lf_stream_prepare(stream) == LF_OK && lf_stream_prepare(NULL) == LF_ERR_ARGUMENT);
    CHECK(lf_stream_step_f32(stream, xs + I, y) == LF_OK);
    CHECK(memcmp(y, ys + H, H * sizeof(float)) == 0);
    CHECK(lf_stream_prepare(twin) == LF_OK);
    memset(twin->recurrent, 0, 4 * H * sizeof(float));
    CHECK(lf_stream_step_f32(twin, xs + I, y) == LF_OK);
    CHECK(memcmp(y, ys + H, H * sizeof(float)) != 0);
    CHECK(allocations == before); /* the hot path and its neighbours: not one */
    lf_stream_destroy(stream);
    lf_stream_destroy(twin);
    lf_stream_destroy(other);
    lf_model_destroy(model);
    lf_model_destroy(other_model);
    CHECK(allocations == before);
    CHECK(before > 0); /* negative control: the counter does count */
}

static void check_probes(void) {
    static _Alignas(64) float values[1024];
    float result;
    size_t fmas = 0;
    CHECK(lf_probe_read("scalar", values, 1024, &result) == LF_OK && result == 0);
    CHECK(lf_probe_read("scalar", values + 1, 128, &result) == LF_ERR_ARGUMENT);
    CHECK(lf_probe_read("sse9", values, 128, &result) == LF_ERR_ISA_UNKNOWN);
    CHECK(lf_probe_fma("scalar", 10, &fmas) == LF_OK && fmas == 120);
    CHECK(lf_probe_fma("scalar", 10, NULL) == LF_ERR_ARGUMENT);
}

static void check_activate(void) {
    float x[3] = {0, 1e30f, -1e30f}, y[3];
    CHECK(lf_activate_f32("scalar", &(lf_function){.name = LF_SIGMOID}, x, y, 3) == LF_OK);
    CHECK(y[0] == 0.5f && y[1] == 1 && y[2] == 0);
    CHECK(lf_activate_f32("scalar", &(lf_function){.name = (lf_activation)10}, x, y, 3) ==
          LF_ERR_ARGUMENT);
    CHECK(lf_activate_f32("sse9", &(lf_function){.name = LF_TANH}, x, y, 3) == LF_ERR_ISA_UNKNOWN);
    CHECK(lf_activate_f32("scalar", &(lf_function){.name = LF_TANH}, NULL, y, 3) ==
          LF_ERR_ARGUMENT);
}

/* A state that decays, and what is computed of it, stays clear of subnormal numbers, and so of the slow
 * path that they are on many CPUs: the CPU notes each time that a result is too small. */
static void check_small_values(const char *isa) {
    static const lf_function functions[] = {{.name = LF_SIGMOID}, {.name = LF_TANH}};
    float x[125], y[125];
    for (int j = 0; j < 125; j++)
        x[j] = ldexpf(j % 2 ? -1.25f : 1.75f, -1 - j);
    for (int f = 0; f < 2; f++) {
        feclearexcept(FE_ALL_EXCEPT);
        CHECK(lf_activate_f32(isa, &functions[f], x, y, 125) == LF_OK);
        CHECK(!fetestexcept(FE_UNDERFLOW));
    }
    volatile float small = 0x1p-100f;
    small *= small;
    CHECK(fetestexcept(FE_UNDERFLOW)); /* negative control */
}

int main(void) {
    make_weights();
    check_isas();
    check_turns();
    check_create();
    for (size_t i = 0; i < lf_isa_count(); i++)
        for (int type = LF_FLOAT32; type <= LF_INT8 && !lf_isa_missing(i, 0); type++)
            check_stream(lf_isa_name(i), (lf_weight_type)type);
    for (size_t i = 0; i < lf_isa_count(); i++)
        if (!lf_isa_missing(i, 0))
            check_small_values(lf_isa_name(i));
    check_activate();
    check_probes();
    return check_failures("core");
}
