/*
 * Snapshots of whole models in C: round trips at any alignment, and whatever does not fit.
 * Arguments: a .lfm file with an embedding, and one with one input and one output, both float32.
 * Linked with --wrap=malloc and so on.
 */
#include "allocations.h"
#include "check.h"
#include "model_calls.h"
#include "program/plan.h"
#include "program/program.h"
#include "sha256.h"
#include "small_lstm.h"
#include "stream.h"

enum { T = 5, HEAD = 12 }; /* bytes of magic and length */

static lf_model *model, *other;
static values frames;

static lf_stream *new_stream(const lf_model *of) {
    lf_stream *stream = NULL;
    CHECK(lf_stream_create(of, &stream) == LF_OK);
    return stream;
}

/* One that has come some way. */
static lf_stream *used_stream(void) {
    lf_stream *const stream = new_stream(model);
    uint32_t seed = 5;
    fill(&frames, &seed);
    CHECK(lf_stream_run(stream, frames.inputs, T, frames.outputs) == LF_OK);
    return stream;
}

static int are_alike(const lf_stream *a, const lf_stream *b) {
    return memcmp(a->state, b->state, model->plan->state_bytes) == 0;
}

/* The checksum of what is there. */
static void seal(char *bytes, size_t size) {
    lf_sha256(bytes, size - LF_SHA256_BYTES, (unsigned char *)bytes + size - LF_SHA256_BYTES);
}

static size_t header_bytes(const char *bytes) {
    uint32_t length;
    memcpy(&length, bytes + 8, sizeof length);
    return HEAD + length;
}

/* ---- what fits ---- */

static void test_round_trip(void) {
    lf_stream *const stream = used_stream(), *const again = new_stream(model);
    const size_t size = lf_snapshot_bytes(model);
    char *const bytes = malloc(2 * size + 9), *const second = bytes + size + 9;
    unsigned long long handle;
    lf_pool *pool;
    CHECK(lf_pool_create(model, 1, 1, 1, &pool) == LF_OK);
    const int before = allocations;
    for (size_t at = 0; at < 9; at++) {
        CHECK(lf_stream_snapshot(stream, bytes + at, size) == LF_OK);
        CHECK(lf_stream_reset(again) == LF_OK && !are_alike(stream, again)); /* the control */
        CHECK(lf_stream_prepare(again) == LF_OK);
        CHECK(lf_stream_restore(again, bytes + at, size) == LF_OK && !again->prepared);
        CHECK(are_alike(stream, again));
        CHECK(lf_pool_restore(pool, bytes + at, size, &handle) == LF_OK);
        CHECK(lf_pool_snapshot(pool, handle, second, size) == LF_OK);
        CHECK(memcmp(bytes + at, second, size) == 0);
        CHECK(lf_pool_restore(pool, bytes + at, size, &handle) == LF_ERR_FULL);
        CHECK(lf_pool_close(pool, handle) == LF_OK);
        CHECK(lf_pool_snapshot(pool, handle, second, size) == LF_ERR_HANDLE);
    }
    CHECK(allocations == before);
    lf_pool_destroy(pool);
    lf_stream_destroy(again);
    lf_stream_destroy(stream);
    free(bytes);
}

/* Values that no session of ours has become what they would be if a caller set them. */
static void test_values_become_canonical(void) {
    lf_stream *const stream = used_stream();
    const size_t size = lf_snapshot_bytes(model);
    char *const bytes = malloc(size);
    CHECK(lf_stream_snapshot(stream, bytes, size) == LF_OK);
    const size_t begin = header_bytes(bytes);
    for (size_t n = begin; n < size - LF_SHA256_BYTES; n++)
        bytes[n] = (n - begin) % 4 < 3; /* 2^-133 and a little */
    seal(bytes, size);
    CHECK(!is_zero(stream->state, model->plan->state_bytes));
    CHECK(lf_stream_restore(stream, bytes, size) == LF_OK);
    CHECK(is_zero(stream->state, model->plan->state_bytes));
    free(bytes);
    lf_stream_destroy(stream);
}

/* ---- what does not ---- */

/* No stream and no pool takes these bytes, and that changes nothing; returns the status. */
static lf_status refused(lf_stream *stream, lf_pool *pool, const char *bytes, size_t size) {
    static char states[2][1 << 16];
    unsigned long long handle = 77;
    const size_t state_bytes = stream->model->plan ? stream->model->plan->state_bytes : 0;
    memcpy(states[0], stream->state, state_bytes);
    const lf_status status = lf_stream_restore(stream, bytes, size);
    memcpy(states[1], stream->state, state_bytes);
    CHECK(memcmp(states[0], states[1], state_bytes) == 0);
    CHECK(!pool || lf_pool_restore(pool, bytes, size, &handle) == status);
    CHECK(handle == 77 && (!pool || lf_pool_open_count(pool) == 0));
    CHECK(status == LF_ERR_SNAPSHOT || status == LF_ERR_WEIGHTS);
    return status;
}

static void test_damage(void) {
    lf_stream *const taken = used_stream(), *const stream = new_stream(model);
    const size_t size = lf_snapshot_bytes(model);
    lf_pool *pool;
    CHECK(lf_pool_create(model, 1, 0, 1, &pool) == LF_OK);
    char *const bytes = malloc(size + 1);
    CHECK(lf_stream_snapshot(taken, bytes, size) == LF_OK);
    const size_t begin = header_bytes(bytes), version_ends = HEAD + strlen("{\"version\": 2, ");
    for (size_t n = 0; n < size; n++) { /* any byte, by any bit */
        const char right = bytes[n];
        bytes[n] = (char)(right ^ 1 << n % 8);
        CHECK(refused(stream, pool, bytes, size) == LF_ERR_SNAPSHOT);
        seal(bytes, size); /* and with a checksum that fits */
        if (n < begin) {
            const int is_version = n < 8 || (n >= HEAD && n < version_ends);
            CHECK(refused(stream, pool, bytes, size) ==
                  (is_version ? LF_ERR_SNAPSHOT : LF_ERR_WEIGHTS));
        }
        bytes[n] = right;
        seal(bytes, size);
    }
    for (size_t n = 0; n < size; n++) { /* none of these is longer than it says */
        char *const part = malloc(n + 1);
        memcpy(part, bytes, n);
        CHECK(refused(stream, pool, part, n) == LF_ERR_SNAPSHOT);
        if (n >= LF_SHA256_BYTES) {
            seal(part, n);
            (void)refused(stream, pool, part, n);
        }
        free(part);
    }
    seal(bytes, size + 1);
    CHECK(refused(stream, pool, bytes, size + 1) == LF_ERR_WEIGHTS);
    seal(bytes, size);
    CHECK(lf_stream_restore(stream, bytes, size) == LF_OK && are_alike(taken, stream));
    free(bytes);
    lf_pool_destroy(pool);
    lf_stream_destroy(stream);
    lf_stream_destroy(taken);
}

static void test_arguments(void) {
    lf_stream *const stream = used_stream();
    const size_t size = lf_snapshot_bytes(model);
    char *const bytes = malloc(size);
    unsigned long long handle = 0;
    lf_pool *pool;
    CHECK(lf_pool_create(model, 1, 0, 1, &pool) == LF_OK && lf_pool_open(pool, &handle) == LF_OK);
    CHECK(lf_stream_snapshot(stream, bytes, size - 1) == LF_ERR_ARGUMENT);
    CHECK(lf_stream_snapshot(stream, NULL, size) == LF_ERR_ARGUMENT);
    CHECK(lf_stream_snapshot(NULL, bytes, size) == LF_ERR_ARGUMENT);
    CHECK(lf_stream_restore(stream, NULL, size) == LF_ERR_ARGUMENT);
    CHECK(lf_pool_snapshot(pool, handle, bytes, size - 1) == LF_ERR_ARGUMENT);
    CHECK(lf_pool_restore(pool, NULL, size, &handle) == LF_ERR_ARGUMENT);
    lf_pool_destroy(pool);
    lf_stream_destroy(stream);
    free(bytes);
}

/* ---- other models, types of weights and kinds of models ---- */

static lf_model *load_as(const char *path, lf_weight_type product, lf_weight_type lstm,
                         lf_weight_type rest) {
    static char bytes[1 << 20];
    lf_weight_type types[64];
    lf_program *program = NULL;
    lf_model *made = NULL;
    FILE *const file = fopen(path, "rb");
    const size_t size = file ? fread(bytes, 1, sizeof bytes, file) : 0;
    if (file)
        fclose(file);
    CHECK(lf_program_parse(bytes, size, &program) == LF_OK && program->op_count <= 64);
    for (uint32_t n = 0; n < program->op_count; n++) {
        const lf_operation_code code = program->ops[n].code;
        const int is_product =
            code == LF_OP_DENSE || code == LF_OP_CONV || code == LF_OP_CONV2D || code == LF_OP_GRU;
        types[n] = code == LF_OP_LSTM ? lstm : is_product ? product : rest;
    }
    CHECK(lf_model_load_as(bytes, size, types, program->op_count, NULL, &made) == LF_OK);
    lf_program_destroy(program);
    return made;
}

static int header_has(const lf_model *of, const char *text) {
    const size_t size = lf_snapshot_bytes(of);
    char *const bytes = calloc(size + 1, 1);
    lf_stream *const stream = new_stream(of);
    CHECK(lf_stream_snapshot(stream, bytes, size) == LF_OK);
    bytes[header_bytes(bytes)] = 0;
    const int has = strstr(bytes + HEAD, text) != NULL;
    lf_stream_destroy(stream);
    free(bytes);
    return has;
}

static void test_types(const char *path) {
    static const struct {
        lf_weight_type product, lstm, rest;
        const char *text;
    } cases[] = {
        {LF_FLOAT32, LF_FLOAT32, LF_FLOAT16, "\"float32\""}, /* what has no weights heeds none */
        {LF_FLOAT16, LF_FLOAT16, LF_INT8, "\"float16\""},
        {LF_FLOAT32, LF_INT8, LF_FLOAT32, "{\""}, /* there is a GRU */
        {LF_FLOAT32, LF_FLOAT16, LF_FLOAT32, "{\""},
        {LF_FLOAT16, LF_INT8, LF_FLOAT32, "{\""},
    };
    const size_t size = lf_snapshot_bytes(model);
    lf_stream *const taken = used_stream();
    char *const bytes = malloc(size);
    CHECK(lf_stream_snapshot(taken, bytes, size) == LF_OK);
    for (size_t n = 0; n < sizeof cases / sizeof *cases; n++) {
        lf_model *const typed = load_as(path, cases[n].product, cases[n].lstm, cases[n].rest);
        lf_stream *const stream = new_stream(typed);
        CHECK(header_has(typed, cases[n].text));
        if (n)
            CHECK(refused(stream, NULL, bytes, size) == LF_ERR_WEIGHTS);
        else
            CHECK(lf_stream_restore(stream, bytes, size) == LF_OK && are_alike(taken, stream));
        lf_stream_destroy(stream);
        lf_model_destroy(typed);
    }
    free(bytes);
    lf_stream_destroy(taken);
}

static void test_other_models(void) {
    static const unsigned char print[LF_FINGERPRINT_BYTES] = "of an LSTM";
    lf_model *lstm = NULL;
    lf_model *const all[2] = {model, other};
    CHECK(small_lstm(NULL, LF_FLOAT32, &lstm) == LF_OK); /* makes the weights */
    lf_model_destroy(lstm);
    CHECK(lf_model_create(I, H, 0, L, layers, LF_FLOAT32, NULL, print, &lstm) == LF_OK);
    lf_stream *const of_lstm = new_stream(lstm);
    for (int n = 0; n < 2; n++) {
        lf_stream *const stream = new_stream(all[n]), *const source = new_stream(all[!n]);
        const size_t size = lf_snapshot_bytes(all[!n]), lstm_size = lf_snapshot_bytes(lstm);
        char *const bytes = malloc(size + lstm_size);
        CHECK(lf_stream_snapshot(source, bytes, size) == LF_OK);
        CHECK(refused(stream, NULL, bytes, size) == LF_ERR_WEIGHTS);
        CHECK(lf_stream_restore(of_lstm, bytes, size) == LF_ERR_SNAPSHOT);
        CHECK(lf_stream_snapshot(of_lstm, bytes, lstm_size) == LF_OK);
        CHECK(refused(stream, NULL, bytes, lstm_size) == LF_ERR_SNAPSHOT);
        free(bytes);
        lf_stream_destroy(source);
        lf_stream_destroy(stream);
    }
    lf_stream_destroy(of_lstm);
    lf_model_destroy(lstm);
}

int main(int count, char **arguments) {
    CHECK(count == 3 && (model = read_model(arguments[1], NULL)) != NULL);
    CHECK(count == 3 && (other = read_model(arguments[2], NULL)) != NULL);
    if (check_failed)
        return check_failures("snapshots of models");
    CHECK(model->plan->can_fail && !other->plan->can_fail);
    frames = make_values(model, T);
    test_round_trip();
    test_values_become_canonical();
    test_damage();
    test_arguments();
    test_types(arguments[1]);
    test_other_models();
    free_values(&frames);
    lf_model_destroy(other);
    lf_model_destroy(model);
    return check_failures("snapshots of models");
}
