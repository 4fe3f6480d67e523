/*
 * Golden bits of small models, so that a build can be checked where it runs, without a file. The digests are of
 * what the kernels of all ISAs give.
 */
#include <string.h>

#include "kernel.h"

#ifndef LF_VERSION
#define LF_VERSION "unknown" /* the build files name it */
#endif

const char *lf_version(void) { return LF_VERSION; }

/* Off every vector width, with a projection, and enough steps for a cell to fill. */
enum { INPUTS = 5, UNITS = 19, OUTPUTS = 7, LAYERS = 2, STEPS = 4 };

/* Multiples of 2^-19 in [-1, 1), from the upper bits of a linear congruential generator. */
static float next_value(uint32_t *state) {
    *state = *state * 1664525u + 1013904223u;
    return (float)(int32_t)(*state >> 12) * 0x1p-19f - 1.0f;
}

static void fill(float *values, size_t count, uint32_t seed) {
    for (size_t j = 0; j < count; j++)
        values[j] = next_value(&seed) * 0.5f;
}

/* FNV-1a over the bytes of whole numbers, so that it is the same on every machine. */
static uint64_t digest_of(const float *values, size_t count, uint64_t digest) {
    for (size_t j = 0; j < count; j++) {
        uint32_t bits;
        memcpy(&bits, &values[j], sizeof bits);
        for (int n = 0; n < 4; n++)
            digest = (digest ^ (bits >> 8 * n & 0xFFu)) * UINT64_C(0x100000001B3);
    }
    return digest;
}

/* The outputs of a stream, and of a pool's session beside another, whose kernels are others. */
static lf_status digest_model(const lf_model *model, int with_pool, uint64_t *digest) {
    float xs[STEPS * INPUTS], ys[STEPS * UNITS], both[2 * INPUTS], out[2 * UNITS];
    const size_t outputs = lf_model_output_size(model);
    unsigned long long handles[2];
    lf_stream *stream = NULL;
    lf_pool *pool = NULL;
    fill(xs, STEPS * INPUTS, 7);
    lf_status status = lf_stream_create(model, &stream);
    if (status == LF_OK)
        status = lf_stream_run_f32(stream, xs, STEPS, ys);
    if (status == LF_OK && with_pool)
        status = lf_pool_create(model, 2, 0, 1, &pool);
    for (int n = 0; n < 2 && status == LF_OK && pool; n++)
        status = lf_pool_open(pool, &handles[n]);
    *digest = digest_of(ys, STEPS * outputs, UINT64_C(0xCBF29CE484222325));
    for (int t = 0; t < STEPS && status == LF_OK && pool; t++) {
        memcpy(both, xs + t * INPUTS, INPUTS * sizeof(float));
        memcpy(both + INPUTS, xs, INPUTS * sizeof(float));
        status = lf_pool_step_f32(pool, handles, 2, both, out, NULL);
        *digest = digest_of(out, outputs, *digest);
    }
    lf_pool_destroy(pool);
    lf_stream_destroy(stream);
    return status;
}

static lf_status digest_case(lf_weight_type type, int is_plain, const char *isa, uint64_t *digest) {
    static const lf_cell_options options = {.gate = {LF_HARD_SIGMOID, 0.2f, 0.5f},
                                            .input = {LF_TANH, 0, 0},
                                            .output = {LF_SOFTSIGN, 0, 0},
                                            .clip = 2.0f,
                                            .cell_clip = 1.5f,
                                            .layer_norm_epsilon = 1e-5f};
    enum { ROWS = LF_GATES * UNITS };
    float weight_ih[LAYERS][ROWS * UNITS], weight_hh[LAYERS][ROWS * UNITS], bias[LAYERS][ROWS];
    float weight_hr[LAYERS][OUTPUTS * UNITS], peephole[LAYERS][3 * UNITS], norm[LAYERS][ROWS];
    lf_layer_weights layers[LAYERS];
    for (int l = 0; l < LAYERS; l++) {
        const uint32_t seed = 100u * (uint32_t)l;
        fill(weight_ih[l], ROWS * UNITS, seed + 1);
        fill(weight_hh[l], ROWS * UNITS, seed + 2);
        fill(bias[l], ROWS, seed + 3);
        fill(weight_hr[l], OUTPUTS * UNITS, seed + 4);
        fill(peephole[l], 3 * UNITS, seed + 5);
        fill(norm[l], ROWS, seed + 6);
        layers[l] = (lf_layer_weights){
            .weight_ih = weight_ih[l], .weight_hh = weight_hh[l], .bias_ih = bias[l]};
        if (!is_plain) {
            layers[l].weight_hr = weight_hr[l];
            layers[l].peephole = peephole[l];
            layers[l].layer_norm = norm[l];
            layers[l].cell = &options;
        }
    }
    lf_model *model = NULL;
    lf_status status = lf_model_create(INPUTS, UNITS, is_plain ? 0 : OUTPUTS, LAYERS, layers, type,
                                       isa, NULL, &model);
    if (status == LF_OK)
        status = digest_model(model, is_plain, digest);
    lf_model_destroy(model);
    return status;
}

/* Of each weight type: the plain cell, and one with everything. */
static const uint64_t golden[LF_WEIGHT_TYPES][2] = {
    [LF_FLOAT32] = {UINT64_C(0xD2CC49065D386865), UINT64_C(0xD0CF119A25385458)},
    [LF_FLOAT16] = {UINT64_C(0xB7B95247DBEF4B15), UINT64_C(0xAE729D0ABB301FF9)},
    [LF_INT8] = {UINT64_C(0x711A61041B913D7D), UINT64_C(0x4F09EE45363EB43A)},
};

lf_status lf_self_test(const char *isa) {
    /* (1 + 2^-12)^2 - 1 is 2^-11 + 2^-24; the product rounded by itself loses the last part */
    static const float values[3] = {1 + 0x1p-12f, 1 + 0x1p-12f, -1};
    size_t index;
    lf_status status = lf_isa_choose(isa, &index);
    if (status != LF_OK)
        return status;
    if (lf_isa_at(index)->canary(values) != 0x1p-11f)
        return LF_ERR_BITS;
    for (int type = 0; type < LF_WEIGHT_TYPES; type++)
        for (int variant = 0; variant < 2; variant++) {
            uint64_t digest = 0;
            status = digest_case((lf_weight_type)type, !variant, lf_isa_name(index), &digest);
            if (status != LF_OK)
                return status;
            if (digest != golden[type][variant])
                return LF_ERR_BITS;
        }
    return LF_OK;
}
