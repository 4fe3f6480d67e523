/*
 * Sessions as bytes: the layout of lstm_fast/snapshots.py, byte for byte. The header is JSON whose every byte the
 * model determines, so none is parsed: it is written, or compared with what it should be.
 */
#include <stdio.h>
#include <string.h>

#include "sha256.h"
#include "snapshot.h"
#include "state.h"

#define MAGIC "LSTMFAST"
enum { MAGIC_BYTES = 8, LENGTH_BYTES = 4, LONGEST_HEADER = 256 };

#define NAME_OF(type, name, bytes, sums) [type] = #name,
static const char *const type_names[LF_WEIGHT_TYPES] = {LF_EACH_WEIGHT_TYPE(NAME_OF)};

/* Everything before the state; returns how many bytes that is. */
static size_t write_header(const lf_model *model, char header[LONGEST_HEADER]) {
    char fingerprint[2 * LF_FINGERPRINT_BYTES + 1], projection[40] = "";
    for (size_t n = 0; n < LF_FINGERPRINT_BYTES; n++)
        (void)snprintf(fingerprint + 2 * n, 3, "%02x", model->fingerprint[n]);
    if (model->has_projection)
        (void)snprintf(projection, sizeof projection, ", \"proj_size\": %zu", model->output_size);
    const int length = snprintf(
        header + MAGIC_BYTES + LENGTH_BYTES, LONGEST_HEADER - MAGIC_BYTES - LENGTH_BYTES,
        "{\"version\": 1, \"fingerprint\": \"%s\", \"weight_dtype\": \"%s\", \"num_layers\": %zu, "
        "\"hidden_size\": %zu%s}",
        fingerprint, type_names[model->weight_type], model->num_layers, model->hidden_size,
        projection);
    memcpy(header, MAGIC, MAGIC_BYTES);
    for (int n = 0; n < LENGTH_BYTES; n++)
        header[MAGIC_BYTES + n] = (char)((unsigned)length >> 8 * n & 0xFFu);
    return MAGIC_BYTES + LENGTH_BYTES + (size_t)length;
}

static size_t state_bytes(const lf_model *model) {
    return model->num_layers * (model->output_size + model->hidden_size) * sizeof(float);
}

size_t lf_snapshot_bytes(const lf_model *model) {
    char header[LONGEST_HEADER];
    if (!model || !model->has_fingerprint)
        return 0;
    return write_header(model, header) + state_bytes(model) + LF_SHA256_BYTES;
}

/* Whether there are snapshots of it at all. */
static lf_status check_model(const lf_model *model) {
    if (model->plan)
        return LF_ERR_KIND;
    return model->has_fingerprint ? LF_OK : LF_ERR_FINGERPRINT;
}

lf_status lf_snapshot_check_room(const lf_model *model, const void *bytes, size_t size) {
    const lf_status status = check_model(model);
    if (status != LF_OK)
        return status;
    return bytes && size >= lf_snapshot_bytes(model) ? LF_OK : LF_ERR_ARGUMENT;
}

void lf_snapshot_write(const lf_model *model, const float *h, const float *c, void *bytes) {
    char header[LONGEST_HEADER];
    const size_t begin = write_header(model, header), end = begin + state_bytes(model);
    char *const out = bytes;
    memcpy(out, header, begin);
    float *const state =
        (float *)(void *)(out + begin); /* only for memcpy: it need not be aligned */
    lf_state_read(model, h, c, state, state + model->num_layers * model->output_size);
    lf_sha256(out, end, (unsigned char *)out + end);
}

lf_status lf_snapshot_read(const lf_model *model, const void *bytes, size_t size, const float **h,
                           const float **c) {
    char header[LONGEST_HEADER];
    unsigned char digest[LF_SHA256_BYTES];
    const char *const in = bytes;
    const lf_status status = check_model(model);
    if (status != LF_OK)
        return status;
    if (!bytes)
        return LF_ERR_ARGUMENT;
    if (size < MAGIC_BYTES + LENGTH_BYTES + LF_SHA256_BYTES || memcmp(in, MAGIC, MAGIC_BYTES) != 0)
        return LF_ERR_SNAPSHOT;
    lf_sha256(in, size - LF_SHA256_BYTES, digest);
    if (memcmp(digest, in + size - LF_SHA256_BYTES, sizeof digest) != 0)
        return LF_ERR_SNAPSHOT;
    const size_t begin = write_header(model, header);
    static const char start[] = "{\"version\": 1, ";
    const size_t same = MAGIC_BYTES + LENGTH_BYTES;
    if (size < same + sizeof start - 1 + LF_SHA256_BYTES ||
        memcmp(in + same, start, sizeof start - 1) != 0)
        return LF_ERR_SNAPSHOT;
    if (size != lf_snapshot_bytes(model) || memcmp(in, header, begin) != 0)
        return LF_ERR_WEIGHTS;
    *h = (const float *)(const void *)(in + begin);
    *c = *h + model->num_layers * model->output_size;
    return LF_OK;
}
