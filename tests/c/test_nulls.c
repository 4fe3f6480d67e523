/*
 * Every pointer that a function of lstm_fast.h takes, given as null: a status, or 0, or null, and never a crash. Each row
 * is one call; test_c_core.py looks whether there is one for each pointer in the header.
 */
#include <string.h>

#include "check.h"
#include "lstm_fast.h"
#include "small_lstm.h"

typedef struct row {
    const char *call;
    long long got, expected;
} row;

#define REFUSED(call) {#call, (long long)(call), LF_ERR_ARGUMENT}
#define ALLOWED(call) {#call, (long long)(call), LF_OK}
#define ZERO(call) {#call, (long long)(call), 0}
#define NOTHING(call) {#call, (call) != NULL, 0}
#define DONE(call) {#call, ((call), 0), 0}

static lf_model *model;
static lf_stream *stream;
static lf_pool *pool;
static unsigned long long handle;
static char bytes[4096];
static float x[I], y[H], h[L * H], c[L * H];
static size_t index, bad, ready;
static const void *inputs[1] = {x}, *no_inputs[1], *values[2] = {h, c}, *half[2] = {h};
static void *outputs[1] = {y}, *no_outputs[1], *states[2] = {h, c}, *half_states[2] = {h};

static void check(const row *rows, size_t count) {
    for (size_t n = 0; n < count; n++)
        if (rows[n].got != rows[n].expected) {
            check_failed++;
            printf("%s: %lld, not %lld\n", rows[n].call, rows[n].got, rows[n].expected);
        }
}

static void test_models(void) {
    const lf_layer_weights no_weights = {.weight_hh = h}, no_recurrent = {.weight_ih = h};
    const lf_weight_type type = LF_FLOAT32;
    const char *const isa = "scalar";
    const size_t size = sizeof bytes;
    lf_model *made = NULL;
    const row rows[] = {
        NOTHING(lf_isa_missing(lf_isa_count(), 0)),
        NOTHING(lf_isa_name(lf_isa_count())),
        REFUSED(lf_isa_choose(isa, NULL)),
        ALLOWED(lf_isa_choose(NULL, &index)),
        ALLOWED(lf_self_test(NULL)),
        REFUSED(lf_model_create(1, 1, 0, 1, NULL, type, isa, NULL, &made)),
        REFUSED(lf_model_create(1, 1, 0, 1, &no_weights, type, isa, NULL, &made)),
        REFUSED(lf_model_create(1, 1, 0, 1, &no_recurrent, type, isa, NULL, &made)),
        REFUSED(lf_model_create(I, H, 0, L, layers, type, NULL, NULL, NULL)),
        DONE(lf_model_destroy(NULL)),
        ZERO(lf_model_input_size(NULL)),
        ZERO(lf_model_hidden_size(NULL)),
        ZERO(lf_model_output_size(NULL)),
        ZERO(lf_model_num_layers(NULL)),
        ZERO(lf_model_packed_bytes(NULL)),
        ZERO(lf_model_weight_type(NULL)),
        NOTHING(lf_model_isa(NULL)),
        REFUSED(lf_model_load(NULL, size, NULL, &made)),
        REFUSED(lf_model_load(NULL, 0, isa, &made)),
        REFUSED(lf_model_load(bytes, size, isa, NULL)),
        REFUSED(lf_model_load_as(NULL, size, &type, 1, NULL, &made)),
        REFUSED(lf_model_load_as(bytes, size, NULL, 1, isa, &made)),
        REFUSED(lf_model_load_as(bytes, size, &type, 1, isa, NULL)),
        ZERO(lf_model_input_count(NULL)),
        ZERO(lf_model_output_count(NULL)),
        ZERO(lf_model_state_count(NULL)),
        NOTHING(lf_model_input(NULL, 0)),
        NOTHING(lf_model_output(NULL, 0)),
        NOTHING(lf_model_state(NULL, 0)),
        NOTHING(lf_model_input(model, 1)),
        ZERO(lf_snapshot_bytes(NULL)),
    };
    check(rows, sizeof rows / sizeof *rows);
    CHECK(!made);
}

static void test_streams(void) {
    const size_t size = sizeof bytes;
    lf_stream *made = NULL;
    const row rows[] = {
        REFUSED(lf_stream_create(NULL, &made)),
        REFUSED(lf_stream_create(model, NULL)),
        DONE(lf_stream_destroy(NULL)),
        REFUSED(lf_stream_step_f32(NULL, x, y)),
        REFUSED(lf_stream_step_f32(stream, NULL, y)),
        REFUSED(lf_stream_step_f32(stream, x, NULL)),
        REFUSED(lf_stream_run_f32(NULL, x, 1, y)),
        REFUSED(lf_stream_run_f32(stream, NULL, 1, y)),
        REFUSED(lf_stream_run_f32(stream, x, 1, NULL)),
        ALLOWED(lf_stream_run_f32(stream, NULL, 0, NULL)),
        REFUSED(lf_stream_step(NULL, inputs, outputs)),
        REFUSED(lf_stream_step(stream, NULL, outputs)),
        REFUSED(lf_stream_step(stream, inputs, NULL)),
        REFUSED(lf_stream_step(stream, no_inputs, outputs)),
        REFUSED(lf_stream_step(stream, inputs, no_outputs)),
        REFUSED(lf_stream_run(NULL, inputs, 1, outputs)),
        REFUSED(lf_stream_run(stream, NULL, 1, outputs)),
        REFUSED(lf_stream_run(stream, inputs, 1, NULL)),
        REFUSED(lf_stream_prepare(NULL)),
        REFUSED(lf_stream_reset(NULL)),
        REFUSED(lf_stream_get_state_f32(NULL, h, c)),
        REFUSED(lf_stream_get_state_f32(stream, NULL, c)),
        REFUSED(lf_stream_get_state_f32(stream, h, NULL)),
        REFUSED(lf_stream_set_state_f32(NULL, h, c)),
        REFUSED(lf_stream_set_state_f32(stream, NULL, c)),
        REFUSED(lf_stream_set_state_f32(stream, h, NULL)),
        REFUSED(lf_stream_get_states(NULL, states)),
        REFUSED(lf_stream_get_states(stream, NULL)),
        REFUSED(lf_stream_get_states(stream, half_states)),
        REFUSED(lf_stream_set_states(NULL, values)),
        REFUSED(lf_stream_set_states(stream, NULL)),
        REFUSED(lf_stream_set_states(stream, half)),
        REFUSED(lf_stream_copy(NULL, stream)),
        REFUSED(lf_stream_copy(stream, NULL)),
        REFUSED(lf_stream_snapshot(NULL, bytes, size)),
        REFUSED(lf_stream_snapshot(stream, NULL, size)),
        REFUSED(lf_stream_restore(NULL, bytes, size)),
        REFUSED(lf_stream_restore(stream, NULL, size)),
    };
    check(rows, sizeof rows / sizeof *rows);
    CHECK(!made);
}

static void test_pools(void) {
    lf_pool *made = NULL;
    const row rows[] = {
        REFUSED(lf_pool_create(NULL, 1, 0, 1, &made)),
        REFUSED(lf_pool_create(model, 1, 0, 1, NULL)),
        DONE(lf_pool_destroy(NULL)),
        REFUSED(lf_pool_grow(NULL, 1)),
        ZERO(lf_pool_capacity(NULL)),
        ZERO(lf_pool_open_count(NULL)),
        ZERO(lf_pool_bytes(NULL)),
        ZERO(lf_pool_is_open(NULL, handle)),
        ZERO(lf_pool_handles(NULL, &handle, 1)),
        {"lf_pool_handles of an open session", (long long)lf_pool_handles(pool, NULL, 1), 1},
        REFUSED(lf_pool_open(NULL, &handle)),
        REFUSED(lf_pool_open(pool, NULL)),
        REFUSED(lf_pool_close(NULL, handle)),
        REFUSED(lf_pool_step_f32(NULL, &handle, 1, x, y, &bad)),
        REFUSED(lf_pool_step_f32(pool, NULL, 1, x, y, &bad)),
        REFUSED(lf_pool_step_f32(pool, &handle, 1, NULL, y, &bad)),
        REFUSED(lf_pool_step_f32(pool, &handle, 1, x, NULL, NULL)),
        ALLOWED(lf_pool_step_f32(pool, NULL, 0, NULL, NULL, NULL)),
        REFUSED(lf_pool_run_f32(NULL, &handle, 1, 1, NULL, x, y, &bad)),
        REFUSED(lf_pool_run_f32(pool, NULL, 1, 1, NULL, x, y, &bad)),
        REFUSED(lf_pool_run_f32(pool, &handle, 1, 1, NULL, NULL, y, &bad)),
        REFUSED(lf_pool_run_f32(pool, &handle, 1, 1, NULL, x, NULL, NULL)),
        REFUSED(lf_pool_prepare(NULL, &handle, 1, &ready, &bad)),
        REFUSED(lf_pool_prepare(pool, NULL, 1, &ready, &bad)),
        ALLOWED(lf_pool_prepare(pool, &handle, 1, NULL, NULL)),
        REFUSED(lf_pool_reset(NULL, handle)),
        REFUSED(lf_pool_get_state_f32(NULL, handle, h, c)),
        REFUSED(lf_pool_get_state_f32(pool, handle, NULL, c)),
        REFUSED(lf_pool_get_state_f32(pool, handle, h, NULL)),
        REFUSED(lf_pool_set_state_f32(NULL, handle, h, c)),
        REFUSED(lf_pool_set_state_f32(pool, handle, NULL, c)),
        REFUSED(lf_pool_set_state_f32(pool, handle, h, NULL)),
    };
    check(rows, sizeof rows / sizeof *rows);
    CHECK(!made);
}

static void test_pools_of_any_model(void) {
    const size_t size = sizeof bytes;
    const row rows[] = {
        REFUSED(lf_pool_step(NULL, &handle, 1, inputs, outputs, &bad)),
        REFUSED(lf_pool_step(pool, NULL, 1, inputs, outputs, &bad)),
        REFUSED(lf_pool_step(pool, &handle, 1, NULL, outputs, &bad)),
        REFUSED(lf_pool_step(pool, &handle, 1, inputs, NULL, NULL)),
        REFUSED(lf_pool_step(pool, &handle, 1, no_inputs, outputs, &bad)),
        REFUSED(lf_pool_step(pool, &handle, 1, inputs, no_outputs, &bad)),
        REFUSED(lf_pool_run(NULL, &handle, 1, 1, NULL, inputs, outputs, &bad)),
        REFUSED(lf_pool_run(pool, NULL, 1, 1, NULL, inputs, outputs, &bad)),
        REFUSED(lf_pool_run(pool, &handle, 1, 1, NULL, NULL, outputs, &bad)),
        REFUSED(lf_pool_run(pool, &handle, 1, 1, NULL, inputs, NULL, NULL)),
        REFUSED(lf_pool_get_states(NULL, handle, states)),
        REFUSED(lf_pool_get_states(pool, handle, NULL)),
        REFUSED(lf_pool_get_states(pool, handle, half_states)),
        REFUSED(lf_pool_set_states(NULL, handle, values)),
        REFUSED(lf_pool_set_states(pool, handle, NULL)),
        REFUSED(lf_pool_set_states(pool, handle, half)),
        REFUSED(lf_pool_snapshot(NULL, handle, bytes, size)),
        REFUSED(lf_pool_snapshot(pool, handle, NULL, size)),
        REFUSED(lf_pool_restore(NULL, bytes, size, &handle)),
        REFUSED(lf_pool_restore(pool, NULL, size, &handle)),
        REFUSED(lf_pool_restore(pool, bytes, size, NULL)),
    };
    check(rows, sizeof rows / sizeof *rows);
}

int main(void) {
    static const unsigned char fingerprint[LF_FINGERPRINT_BYTES];
    lf_model *other = NULL;
    CHECK(small_lstm("scalar", LF_FLOAT32, &other) == LF_OK); /* fills the weights */
    CHECK(lf_model_create(I, H, 0, L, layers, LF_FLOAT32, "scalar", fingerprint, &model) == LF_OK);
    CHECK(lf_stream_create(model, &stream) == LF_OK);
    CHECK(lf_pool_create(model, 2, 1, 1, &pool) == LF_OK && lf_pool_open(pool, &handle) == LF_OK);
    test_models();
    test_streams();
    test_pools();
    test_pools_of_any_model();
    CHECK(lf_pool_open_count(pool) == 1 && lf_pool_is_open(pool, handle));
    lf_pool_destroy(pool);
    lf_stream_destroy(stream);
    lf_model_destroy(model);
    lf_model_destroy(other);
    return check_failures("nulls");
}
