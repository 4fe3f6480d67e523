/*
 * Runs .lfm files: some steps of three sessions, as streams and in a pool, on every instruction set that is built in and
 * runs here. One line for each file: the status of loading it, or "large"; then what every instruction set gave alike,
 * as a digest; or else what is wrong.
 *
 *   run_programs < files           files.h says how they lie there
 *   run_programs memory < files    whether a model, its streams and its pools are made wholly or not at all, wherever
 *                                  memory runs out
 *
 * Linked with --wrap=malloc and so on, see allocations.h, and with --wrap=lf_cpu_l2_bytes: each file is run as on a CPU
 * whose L2 holds nothing, too.
 */
#include <string.h>

#include "allocations.h"
#include "element_cases.h"
#include "files.h"
#include "model.h"
#include "program/plan.h"

enum {
    SESSIONS = 3,
    STEPS = 4,
    LARGEST = 1 << 22
}; /* bytes of scratch and of state that are tried */

size_t __real_lf_cpu_l2_bytes(void);
size_t __wrap_lf_cpu_l2_bytes(void);

static int has_l2;

size_t __wrap_lf_cpu_l2_bytes(void) { return has_l2 ? __real_lf_cpu_l2_bytes() : 1; }

typedef const lf_value_info *(*info_of)(const lf_model *model, size_t n);

/* ---- values of inputs, outputs or states: an array of each, at an odd address, no longer than it must be ---- */

typedef struct values {
    size_t count;
    size_t *bytes; /* of one value each */
    void **arrays; /* of `each` values */
} values;

static values new_values(const lf_model *model, size_t count, info_of info, size_t each) {
    values v = {count, malloc((count + 1) * sizeof(size_t)), malloc((count + 1) * sizeof(void *))};
    for (size_t n = 0; n < count; n++) {
        v.bytes[n] = info(model, n)->bytes;
        v.arrays[n] = (char *)malloc(each * v.bytes[n] + 1) + 1;
        memset(v.arrays[n], 0x55, each * v.bytes[n]);
    }
    return v;
}

static void drop_values(values *v) {
    for (size_t n = 0; n < v->count; n++)
        free((char *)v->arrays[n] - 1);
    free(v->bytes);
    free(v->arrays);
}

static values new_inputs(const lf_model *model, size_t each) {
    return new_values(model, lf_model_input_count(model), lf_model_input, each);
}

static values new_outputs(const lf_model *model, size_t each) {
    return new_values(model, lf_model_output_count(model), lf_model_output, each);
}

static values new_states(const lf_model *model) {
    return new_values(model, lf_model_state_count(model), lf_model_state, 1);
}

/* Floats of a usual size, and a few of any; small indices; and bools of which some are no 1. */
static void fill(const lf_model *model, values *inputs, size_t each) {
    uint32_t state = 1;
    for (size_t n = 0; n < inputs->count; n++) {
        const lf_kind kind = lf_model_input(model, n)->kind;
        const size_t count = each * inputs->bytes[n] / lf_kind_bytes(kind);
        for (size_t i = 0; i < count; i++) {
            const float value = pseudo_random(&state);
            char *const to = (char *)inputs->arrays[n] + i * lf_kind_bytes(kind);
            if (kind == LF_KIND_FLOAT32) {
                const float one = below(&state, 64) ? 4.0f * value : next_value(&state);
                memcpy(to, &one, sizeof one);
            } else if (kind == LF_KIND_INT64) {
                const int64_t one = (int64_t)(8.0f * value);
                memcpy(to, &one, sizeof one);
            } else {
                *(uint8_t *)to = (uint8_t)(3.9f * (value + 0.5f));
            }
        }
    }
}

static uint64_t digest_of(uint64_t digest, const values *v, size_t each) {
    for (size_t n = 0; n < v->count; n++)
        for (size_t i = 0; i < each * v->bytes[n]; i++)
            digest = (digest ^ ((const uint8_t *)v->arrays[n])[i]) * 0x100000001b3u;
    return digest;
}

/* The part of `each` values that belongs to session s, in arrays of another one's size. */
static void shift(const values *all, size_t s, void **arrays) {
    for (size_t n = 0; n < all->count; n++)
        arrays[n] = (char *)all->arrays[n] + s * STEPS * all->bytes[n];
}

/* ---- sessions ---- */

/* What sessions did: a status, and a digest of what they put out and kept. */
typedef struct result {
    lf_status status;
    uint64_t digest;
} result;

static const uint64_t start = 0xcbf29ce484222325u;

/* Of STEPS steps, in a run or one by one, of which some are prepared; on a failure of the states alone, which must be
 * those of the beginning. */
static result run_stream(const lf_model *model, const values *inputs, size_t s, int is_run,
                         uint64_t digest) {
    values outputs = new_outputs(model, STEPS), states = new_states(model);
    void **const in = malloc((inputs->count + 1) * sizeof(void *));
    void **const out = malloc((outputs.count + 1) * sizeof(void *));
    lf_stream *stream = NULL;
    result r = {lf_stream_create(model, &stream), digest};
    shift(inputs, s, in);
    if (r.status == LF_OK && is_run)
        r.status = lf_stream_run(stream, (const void *const *)in, STEPS, outputs.arrays);
    for (size_t t = 0; r.status == LF_OK && !is_run && t < STEPS; t++) {
        for (size_t n = 0; n < inputs->count; n++)
            in[n] = (char *)inputs->arrays[n] + (s * STEPS + t) * inputs->bytes[n];
        for (size_t n = 0; n < outputs.count; n++)
            out[n] = (char *)outputs.arrays[n] + t * outputs.bytes[n];
        if ((t + s) % 3)
            r.status = lf_stream_prepare(stream);
        if (r.status == LF_OK)
            r.status = lf_stream_step(stream, (const void *const *)in, out);
        if (r.status != LF_OK)
            lf_stream_reset(stream); /* of a run nothing has happened */
    }
    if (stream && lf_stream_get_states(stream, states.arrays) != LF_OK)
        r.status = LF_ERR_BUSY;
    if (r.status == LF_OK)
        r.digest = digest_of(r.digest, &outputs, STEPS);
    r.digest = digest_of(r.digest, &states, 1);
    lf_stream_destroy(stream);
    drop_values(&outputs);
    drop_values(&states);
    free(in);
    free(out);
    return r;
}

static result run_streams(const lf_model *model, const values *inputs, int is_run) {
    result all = {LF_OK, start};
    for (size_t s = 0; s < SESSIONS; s++) {
        const result one = run_stream(model, inputs, s, is_run, all.digest);
        all.digest = one.digest;
        if (all.status == LF_OK)
            all.status = one.status;
    }
    return all;
}

static result run_pool(const lf_model *model, const values *inputs) {
    values outputs = new_outputs(model, SESSIONS * STEPS), states = new_states(model);
    values one = {outputs.count, outputs.bytes, malloc((outputs.count + 1) * sizeof(void *))};
    unsigned long long handles[SESSIONS];
    size_t bad;
    lf_pool *pool = NULL;
    result r = {lf_pool_create(model, SESSIONS, SESSIONS - 1, 1, &pool), start};
    for (size_t s = 0; r.status == LF_OK && s < SESSIONS; s++)
        r.status = lf_pool_open(pool, &handles[s]);
    if (r.status == LF_OK) /* all but one of them */
        r.status = lf_pool_prepare(pool, handles, SESSIONS, NULL, &bad);
    if (r.status == LF_OK)
        r.status = lf_pool_run(pool, handles, SESSIONS, STEPS, NULL,
                               (const void *const *)inputs->arrays, outputs.arrays, &bad);
    for (size_t s = 0; pool && s < SESSIONS; s++) {
        shift(&outputs, s, one.arrays);
        if (r.status == LF_OK)
            r.digest = digest_of(r.digest, &one, STEPS);
        if (lf_pool_get_states(pool, handles[s], states.arrays) != LF_OK)
            r.status = LF_ERR_BUSY;
        r.digest = digest_of(r.digest, &states, 1);
    }
    lf_pool_destroy(pool);
    drop_values(&outputs);
    drop_values(&states);
    free(one.arrays);
    return r;
}

/* ---- a file ---- */

static int is_same(result a, result b) { return a.status == b.status && a.digest == b.digest; }

/* What the streams did; a pool that does otherwise is said to be. A failing session fails the pool, but no other stream. */
static result run_model(const lf_model *model, const char **wrong) {
    values inputs = new_inputs(model, SESSIONS * STEPS);
    fill(model, &inputs, SESSIONS * STEPS);
    const result whole = run_streams(model, &inputs, 1), stepped = run_streams(model, &inputs, 0);
#ifdef LF_TEST_OTHER_INPUTS /* a negative control: the pool is given what the streams were not */
    for (size_t n = 0; n < inputs.count; n++)
        memset(inputs.arrays[n], 0, inputs.bytes[n]);
#endif
    const result pool = run_pool(model, &inputs);
    if (!is_same(whole, stepped))
        *wrong = "steps are not a run";
    if (whole.status != pool.status || (whole.status == LF_OK && whole.digest != pool.digest))
        *wrong = "a pool is not its streams";
    drop_values(&inputs);
    return whole;
}

static size_t bytes_of_a_session(const lf_model *model) {
    size_t bytes = model->plan->scratch_bytes + model->plan->state_bytes;
    for (size_t n = 0; n < lf_model_output_count(model); n++)
        bytes += STEPS * lf_model_output(model, n)->bytes;
    return bytes;
}

static void run_file(const unsigned char *bytes, size_t size) {
    const char *wrong = NULL;
    result first = {LF_OK, 0};
    int found = 0;
    for (size_t n = 0; n < 2 * lf_isa_count() && !wrong; n++) {
        lf_model *model = NULL;
        if (lf_isa_missing(n / 2, 0))
            continue;
        has_l2 = n % 2;
        const lf_status status = lf_model_load(bytes, size, lf_isa_name(n / 2), &model);
        if (status != LF_OK) {
            printf("%d%s\n", (int)status, model ? " and a model" : "");
            return;
        }
        const int is_large = bytes_of_a_session(model) > LARGEST;
        const result one = is_large ? first : run_model(model, &wrong);
        lf_model_destroy(model);
        if (is_large) {
            printf("large\n");
            return;
        }
        if (found++ && !is_same(one, first))
            wrong = "instruction sets differ, or sizes of L2";
        first = one;
    }
    if (wrong)
        printf("%s\n", wrong);
    else
        printf("0 %d %016llx\n", (int)first.status, (unsigned long long)first.digest);
}

/* ---- where memory runs out ---- */

static lf_status make_all(const unsigned char *bytes, size_t size) {
    lf_model *model = NULL;
    lf_stream *stream = NULL;
    lf_pool *pool = NULL;
    lf_status status = lf_model_load(bytes, size, "scalar", &model);
    if (status == LF_OK)
        status = lf_stream_create(model, &stream);
    if (status == LF_OK)
        status = lf_pool_create(model, SESSIONS, 1, 2, &pool);
    lf_pool_destroy(pool);
    lf_stream_destroy(stream);
    lf_model_destroy(model);
    return status;
}

static void run_out(const unsigned char *bytes, size_t size) {
    lf_status status = LF_ERR_MEMORY;
    for (int n = 0; status == LF_ERR_MEMORY; n++) {
        allocations = 0;
        allowed = n;
        status = make_all(bytes, size);
    }
    printf("%d after %d\n", (int)status, allowed);
    allowed = PLENTY;
}

int main(int count, char **arguments) {
    const int is_memory = count > 1 && strcmp(arguments[1], "memory") == 0;
    unsigned char *memory, *bytes;
    size_t size;
    while ((bytes = next_file(&memory, &size))) {
        if (is_memory)
            run_out(bytes, size);
        else
            run_file(bytes, size);
        free(memory);
    }
    return 0;
}
