/*
 * Arrays at odd addresses: every one that a caller may give, compared with the same call on arrays as C aligns them. Made
 * for the sanitizer of alignment, which -DLF_TEST_PLAINLY shows to be there. Whole models are in run_programs.c.
 */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "lstm_fast.h"
#include "pseudo_random.h"

enum { I = 5, H = 19, P = 7, L = 2, SESSIONS = 5, STEPS = 6, ALL = SESSIONS * STEPS, ARRAYS = 40 };

/* ---- copies at odd addresses, which end where their memory does ---- */

static char *memory[ARRAYS];
static int used;

static void *odd(const void *from, size_t bytes) {
    CHECK(used < ARRAYS);
    char *const block = malloc(bytes + 1);
    memory[used++] = block;
    if (from)
        memcpy(block + 1, from, bytes);
    else
        memset(block + 1, 0x55, bytes);
    return block + 1;
}

static void free_all(void) {
    while (used)
        free(memory[--used]);
}

/* ---- models ---- */

static const unsigned char fingerprint[LF_FINGERPRINT_BYTES] = {1, 2, 3};
static float numbers[8 * 4 * H * H];

static const float *some(size_t count, int is_odd) {
    return is_odd ? odd(numbers, count * sizeof *numbers) : numbers;
}

/* With all that a layer can have, or as plain as it can be. */
static lf_model *make_model(lf_weight_type type, int is_variant, int is_odd, const char *isa) {
    const lf_cell_options cell = {.gate = {.name = LF_SIGMOID},
                                  .input = {.name = LF_TANH},
                                  .output = {.name = LF_TANH},
                                  .layer_norm_epsilon = 1e-5f};
    const size_t outputs = is_variant ? P : H;
    lf_layer_weights layers[L];
    lf_model *model = NULL;
    for (size_t l = 0; l < L; l++) {
        layers[l] = (lf_layer_weights){
            .weight_ih = some(4 * H * (l ? outputs : I), is_odd),
            .weight_hh = some(4 * H * outputs, is_odd),
            .bias_ih = some(4 * H, is_odd),
            .bias_hh = some(4 * H, is_odd),
            .h_0 = some(outputs, is_odd),
            .c_0 = some(H, is_odd),
        };
        if (is_variant) {
            layers[l].weight_hr = some(P * H, is_odd);
            layers[l].bias_hr = some(P, is_odd);
            layers[l].peephole = some(3 * H, is_odd);
            layers[l].layer_norm = some(4 * H, is_odd);
            layers[l].cell = &cell;
        }
    }
    CHECK(lf_model_create(I, H, is_variant ? P : 0, L, layers, type, isa,
                          is_odd ? odd(fingerprint, sizeof fingerprint) : fingerprint,
                          &model) == LF_OK);
    return model;
}

/* ---- calls ---- */

/* The bytes of arrays that a call has filled, to be compared with those of its like. */
typedef struct results {
    char bytes[1 << 16];
    size_t size;
} results;

static void keep(results *to, const void *bytes, size_t size) {
    CHECK(to->size + size <= sizeof to->bytes);
    memcpy(to->bytes + to->size, bytes, size);
    to->size += size;
}

static void *array(const void *from, size_t bytes, int is_odd) {
    if (is_odd)
        return odd(from, bytes);
    CHECK(used < ARRAYS);
    char *const block = malloc(bytes);
    memory[used++] = block;
    if (from)
        memcpy(block, from, bytes);
    return block;
}

static void use_stream(const lf_model *model, int is_odd, results *kept) {
    const size_t outputs = lf_model_output_size(model), snapshot = lf_snapshot_bytes(model);
    const float *const xs = array(numbers, STEPS * I * sizeof *xs, is_odd);
    float *const ys = array(NULL, STEPS * outputs * sizeof *ys, is_odd);
    float *const h = array(NULL, L * outputs * sizeof *h, is_odd);
    float *const c = array(NULL, L * H * sizeof *c, is_odd);
    void *const bytes = array(NULL, snapshot, is_odd);
    lf_stream *stream = NULL;
    CHECK(lf_stream_create(model, &stream) == LF_OK);
    CHECK(lf_stream_run_f32(stream, xs, STEPS, ys) == LF_OK);
    keep(kept, ys, STEPS * outputs * sizeof *ys);
    CHECK(lf_stream_step_f32(stream, xs, ys) == LF_OK);
    keep(kept, ys, outputs * sizeof *ys);
    CHECK(lf_stream_get_state_f32(stream, h, c) == LF_OK);
    keep(kept, h, L * outputs * sizeof *h);
    keep(kept, c, L * H * sizeof *c);
    CHECK(lf_stream_snapshot(stream, bytes, snapshot) == LF_OK);
    keep(kept, bytes, snapshot);
    CHECK(lf_stream_reset(stream) == LF_OK);
    CHECK(lf_stream_set_state_f32(stream, h, c) == LF_OK);
    CHECK(lf_stream_restore(stream, bytes, snapshot) == LF_OK);
    CHECK(lf_stream_step_f32(stream, xs, ys) == LF_OK);
    keep(kept, ys, outputs * sizeof *ys);
    lf_stream_destroy(stream);
}

static void use_pool(const lf_model *model, int is_odd, results *kept) {
    static const size_t some_lengths[SESSIONS] = {STEPS, 0, 2, 5, 1};
    const size_t outputs = lf_model_output_size(model), snapshot = lf_snapshot_bytes(model);
    const float *const xs = array(numbers, ALL * I * sizeof *xs, is_odd);
    float *const ys = array(NULL, ALL * outputs * sizeof *ys, is_odd);
    float *const h = array(NULL, L * outputs * sizeof *h, is_odd);
    float *const c = array(NULL, L * H * sizeof *c, is_odd);
    void *const bytes = array(NULL, snapshot, is_odd);
    const size_t *const lengths = array(some_lengths, sizeof some_lengths, is_odd);
    unsigned long long opened[SESSIONS + 1];
    lf_pool *pool = NULL;
    CHECK(lf_pool_create(model, SESSIONS + 1, 2, 1, &pool) == LF_OK);
    for (int n = 0; n < SESSIONS; n++)
        CHECK(lf_pool_open(pool, &opened[n]) == LF_OK);
    void *const handles = array(NULL, SESSIONS * sizeof *opened, is_odd);
    CHECK(lf_pool_handles(pool, handles, SESSIONS) == SESSIONS);
    CHECK(memcmp(handles, opened, SESSIONS * sizeof *opened) == 0);
    CHECK(lf_pool_prepare(pool, handles, 2, NULL, NULL) == LF_OK);
    CHECK(lf_pool_step_f32(pool, handles, SESSIONS, xs, ys, NULL) == LF_OK);
    keep(kept, ys, SESSIONS * outputs * sizeof *ys);
    CHECK(lf_pool_run_f32(pool, handles, SESSIONS, STEPS, lengths, xs, ys, NULL) == LF_OK);
    keep(kept, ys, ALL * outputs * sizeof *ys);
    CHECK(lf_pool_run_f32(pool, handles, 1, STEPS, lengths, xs, ys, NULL) == LF_OK);
    keep(kept, ys, STEPS * outputs * sizeof *ys);
    CHECK(lf_pool_get_state_f32(pool, opened[2], h, c) == LF_OK);
    keep(kept, h, L * outputs * sizeof *h);
    keep(kept, c, L * H * sizeof *c);
    CHECK(lf_pool_set_state_f32(pool, opened[0], h, c) == LF_OK);
    CHECK(lf_pool_snapshot(pool, opened[0], bytes, snapshot) == LF_OK);
    keep(kept, bytes, snapshot);
    CHECK(lf_pool_restore(pool, bytes, snapshot, &opened[SESSIONS]) == LF_OK);
    lf_pool_destroy(pool);
}

static void test_model(lf_weight_type type, int is_variant, const char *isa) {
    static results kept[2];
    for (int is_odd = 0; is_odd < 2; is_odd++) {
        lf_model *const model = make_model(type, is_variant, is_odd, isa);
        free_all();
        kept[is_odd].size = 0;
        use_stream(model, is_odd, &kept[is_odd]);
        use_pool(model, is_odd, &kept[is_odd]);
        free_all();
        lf_model_destroy(model);
    }
    CHECK(kept[0].size == kept[1].size && kept[0].size > 0);
    CHECK(memcmp(kept[0].bytes, kept[1].bytes, kept[0].size) == 0);
}

int main(void) {
    uint32_t state = 1;
    for (size_t n = 0; n < sizeof numbers / sizeof *numbers; n++)
        numbers[n] = pseudo_random(&state);
#ifdef LF_TEST_PLAINLY
    const size_t *const lengths = odd(numbers, sizeof *lengths);
    CHECK(*lengths != 0);
#endif
    for (size_t isa = 0; isa < lf_isa_count(); isa++)
        for (int type = LF_FLOAT32; !lf_isa_missing(isa, 0) && type <= LF_INT8; type++)
            for (int is_variant = 0; is_variant < 2; is_variant++)
                test_model((lf_weight_type)type, is_variant, lf_isa_name(isa));
    free_all();
    return check_failures("anywhere");
}
