/* Snapshots in C: SHA-256 by known values, round trips at any alignment, and whatever does not fit. */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "cpu/cpu.h"
#include "kernel.h"
#include "sha256.h"
#include "small_lstm.h"

enum { T = 6 };
static const unsigned char fingerprint[LF_FINGERPRINT_BYTES] = "fingerprint of thirty-two bytes";
static float frames[T * I];

static void check_digest(const char *text, size_t times, const char *expected) {
    const size_t length = strlen(text);
    unsigned char digest[LF_SHA256_BYTES];
    char hex[2 * LF_SHA256_BYTES + 1];
    char *data = malloc(length * times + 1);
    for (size_t n = 0; n < times; n++)
        memcpy(data + n * length, text, length);
    lf_sha256(data, length * times, digest);
    for (size_t n = 0; n < LF_SHA256_BYTES; n++)
        (void)snprintf(hex + 2 * n, 3, "%02x", digest[n]);
    CHECK(strcmp(hex, expected) == 0);
    free(data);
}

/* The examples of FIPS 180-4: none, part of a block, more than fits with the length, and many. */
static void check_sha256(void) {
    check_digest("", 1, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    check_digest("abc", 1, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    check_digest("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 1,
                 "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    check_digest("a", 1000000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

static lf_model *made(lf_weight_type type, const unsigned char *print) {
    lf_model *model = NULL;
    CHECK(lf_model_create(I, H, 0, L, layers, type, NULL, print, &model) == LF_OK);
    return model;
}

static void check_round_trip(lf_weight_type type) {
    lf_model *const model = made(type, fingerprint);
    lf_stream *stream, *other;
    lf_pool *pool;
    unsigned long long handle;
    float y[H], expected[H];
    const size_t size = lf_snapshot_bytes(model);
    char *const bytes = malloc(2 * size + 3), *const again = bytes + size + 2;
    CHECK(lf_stream_create(model, &stream) == LF_OK && lf_stream_create(model, &other) == LF_OK);
    CHECK(lf_pool_create(model, 1, 1, 1, &pool) == LF_OK);
    for (int t = 0; t < T; t++)
        CHECK(lf_stream_step_f32(stream, frames + t * I, expected) == LF_OK);
    CHECK(lf_stream_snapshot(stream, bytes + 1, size) == LF_OK); /* at an odd address */
    CHECK(lf_stream_prepare(other) == LF_OK);
    CHECK(lf_stream_restore(other, bytes + 1, size) == LF_OK); /* and what was prepared is void */
    CHECK(lf_pool_restore(pool, bytes + 1, size, &handle) == LF_OK);
    CHECK(lf_pool_snapshot(pool, handle, again, size) == LF_OK);
    CHECK(memcmp(bytes + 1, again, size) == 0);
    CHECK(lf_stream_step_f32(stream, frames, expected) == LF_OK);
    CHECK(lf_stream_step_f32(other, frames, y) == LF_OK && !memcmp(y, expected, sizeof y));
    CHECK(lf_pool_step_f32(pool, &handle, 1, frames, y, NULL) == LF_OK);
    CHECK(memcmp(y, expected, sizeof y) == 0);
    CHECK(lf_pool_restore(pool, bytes + 1, size, &handle) == LF_ERR_FULL);
    CHECK(lf_pool_close(pool, handle) == LF_OK);
    CHECK(lf_pool_snapshot(pool, handle, again, size) == LF_ERR_HANDLE);
    lf_pool_destroy(pool);
    lf_stream_destroy(other);
    lf_stream_destroy(stream);
    lf_model_destroy(model);
    free(bytes);
}

/* The checksum of what is there. */
static void seal(char *bytes, size_t size) {
    lf_sha256(bytes, size - LF_SHA256_BYTES, (unsigned char *)bytes + size - LF_SHA256_BYTES);
}

/* Whoever made it knows how checksums are made. */
static void check_forgeries(void) {
    enum { HEAD = 12 }; /* magic and length; then JSON, which begins with the version */
    lf_model *const model = made(LF_FLOAT32, fingerprint);
    lf_stream *stream;
    const size_t size = lf_snapshot_bytes(model), version_ends = HEAD + strlen("{\"version\": 1, ");
    const size_t header = size - LF_SHA256_BYTES - 2 * sizeof(float) * L * H;
    char *const bytes = malloc(size + 1);
    CHECK(lf_stream_create(model, &stream) == LF_OK);
    CHECK(lf_stream_snapshot(stream, bytes, size) == LF_OK);
    for (size_t n = 0; n < header; n++) {
        const int is_version = n < 8 || (n >= HEAD && n < version_ends);
        bytes[n] = (char)(bytes[n] ^ 1 << n % 8);
        seal(bytes, size);
        CHECK(lf_stream_restore(stream, bytes, size) ==
              (is_version ? LF_ERR_SNAPSHOT : LF_ERR_WEIGHTS));
        bytes[n] = (char)(bytes[n] ^ 1 << n % 8);
    }
    seal(bytes, size + 1);
    CHECK(lf_stream_restore(stream, bytes, size + 1) == LF_ERR_WEIGHTS);
    seal(bytes, size);
    CHECK(lf_stream_restore(stream, bytes, size) == LF_OK);
    for (size_t n = size - 1; n >= LF_SHA256_BYTES; n--) { /* shorter and shorter */
        seal(bytes, n);
        CHECK(lf_stream_restore(stream, bytes, n) ==
              (n < version_ends + LF_SHA256_BYTES ? LF_ERR_SNAPSHOT : LF_ERR_WEIGHTS));
    }
    lf_stream_destroy(stream);
    lf_model_destroy(model);
    free(bytes);
}

static void check_refusals(void) {
    lf_model *const model = made(LF_FLOAT32, fingerprint), *const half =
                                                               made(LF_FLOAT16, fingerprint);
    lf_model *const nameless = made(LF_FLOAT32, NULL);
    lf_stream *stream, *of_half, *of_nameless;
    lf_pool *pool;
    unsigned long long handle = 0;
    float before[L * H], c[L * H], after[L * H];
    const size_t size = lf_snapshot_bytes(model);
    char *const bytes = malloc(size);
    CHECK(lf_stream_create(model, &stream) == LF_OK && lf_stream_create(half, &of_half) == LF_OK);
    CHECK(lf_stream_create(nameless, &of_nameless) == LF_OK);
    CHECK(lf_pool_create(model, 1, 0, 1, &pool) == LF_OK);
    CHECK(lf_stream_run_f32(stream, frames, 1, before) == LF_OK);
    CHECK(lf_stream_snapshot(stream, bytes, size) == LF_OK);
    CHECK(lf_stream_get_state_f32(stream, before, c) == LF_OK);
    for (size_t n = 0; n < size; n++) { /* any byte, by any bit */
        bytes[n] = (char)(bytes[n] ^ 1 << n % 8);
        CHECK(lf_stream_restore(stream, bytes, size) == LF_ERR_SNAPSHOT);
        CHECK(lf_pool_restore(pool, bytes, size, &handle) == LF_ERR_SNAPSHOT);
        bytes[n] = (char)(bytes[n] ^ 1 << n % 8);
    }
    for (size_t n = 0; n < size; n++)
        CHECK(lf_stream_restore(stream, bytes, n) == LF_ERR_SNAPSHOT);
    CHECK(lf_pool_open_count(pool) == 0 && handle == 0);
    CHECK(lf_stream_get_state_f32(stream, after, c) == LF_OK &&
          !memcmp(before, after, sizeof after));
    CHECK(lf_stream_snapshot(stream, bytes, size - 1) == LF_ERR_ARGUMENT);
    CHECK(lf_stream_snapshot(stream, NULL, size) == LF_ERR_ARGUMENT);
    CHECK(lf_stream_restore(stream, NULL, size) == LF_ERR_ARGUMENT);
    CHECK(lf_stream_restore(of_half, bytes, size) == LF_ERR_WEIGHTS);
    CHECK(lf_snapshot_bytes(nameless) == 0 && lf_snapshot_bytes(NULL) == 0);
    CHECK(lf_stream_snapshot(of_nameless, bytes, size) == LF_ERR_FINGERPRINT);
    CHECK(lf_stream_restore(of_nameless, bytes, size) == LF_ERR_FINGERPRINT);
    CHECK(lf_stream_restore(stream, bytes, size) == LF_OK);
    lf_pool_destroy(pool);
    lf_stream_destroy(of_nameless);
    lf_stream_destroy(of_half);
    lf_stream_destroy(stream);
    lf_model_destroy(nameless);
    lf_model_destroy(half);
    lf_model_destroy(model);
    free(bytes);
}

static void check_self_test(void) {
    CHECK(lf_self_test("sse9") == LF_ERR_ISA_UNKNOWN);
    for (size_t n = 0; n < lf_isa_count(); n++) { /* by bits: of a stand-in one has no name */
        const int is_missing = (lf_isa_at(n)->required & ~lf_cpu_features()) != 0;
        CHECK(lf_self_test(lf_isa_name(n)) == (is_missing ? LF_ERR_ISA_ABSENT : LF_OK));
    }
}

int main(void) {
    lf_model *model;
    uint32_t state = 3;
    CHECK(small_lstm(NULL, LF_FLOAT32, &model) == LF_OK); /* makes the weights */
    CHECK(lf_model_input_size(model) == I && lf_model_hidden_size(model) == H);
    CHECK(lf_model_output_size(model) == H && lf_model_num_layers(model) == L);
    lf_model_destroy(model);
    for (int j = 0; j < T * I; j++)
        frames[j] = pseudo_random(&state);
    check_sha256();
    for (int type = LF_FLOAT32; type <= LF_INT8; type++)
        check_round_trip((lf_weight_type)type);
    check_refusals();
    check_forgeries();
    check_self_test();
    return check_failures("snapshot");
}
