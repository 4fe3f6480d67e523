/*
 * Sessions as bytes: the layout of lstm_fast/snapshots.py, byte for byte: the header that the model has, the values of
 * its states, one behind the other, and a checksum.
 */
#include "snapshot.h"

#include <string.h>

#include "program/plan.h"
#include "sha256.h"
#include "snapshot_header.h"
#include "state.h"

static size_t values_bytes(const lf_model *model) {
    size_t bytes = 0;
    for (size_t n = 0; n < model->values.state_count; n++)
        bytes += model->values.states[n].bytes;
    return bytes;
}

size_t lf_snapshot_bytes(const lf_model *model) {
    if (!model || !model->snapshot_header)
        return 0;
    return model->snapshot_header_bytes + values_bytes(model) + LF_SHA256_BYTES;
}

lf_status lf_snapshot_check_room(const lf_model *model, const void *bytes, size_t size) {
    if (!model->snapshot_header)
        return LF_ERR_FINGERPRINT;
    return bytes && size >= lf_snapshot_bytes(model) ? LF_OK : LF_ERR_ARGUMENT;
}

/* c of an LSTM behind its h: only for memcpy, since the two need not be aligned. */
static size_t h_floats(const lf_model *model) { return model->num_layers * model->output_size; }

void lf_snapshot_write(const lf_model *model, const void *state, const float *c, void *bytes) {
    char *const out = bytes, *const values = out + model->snapshot_header_bytes;
    char *const end = values + values_bytes(model);
    float *const h = (float *)(void *)values;
    memcpy(out, model->snapshot_header, model->snapshot_header_bytes);
    if (model->plan)
        lf_states_pack(model, state, values);
    else
        lf_state_read(model, state, c, h, h + h_floats(model));
    lf_sha256(out, (size_t)(end - out), (unsigned char *)end);
}

/* Whether it has the checksum of its bytes, and the version that snapshots of this model have. */
static int is_snapshot(const lf_model *model, const char *bytes, size_t size) {
    const size_t version = LF_MAGIC_BYTES + LF_LENGTH_BYTES;
    const size_t version_bytes = sizeof "{\"version\": 1, " - 1;
    const char *const header = model->snapshot_header;
    unsigned char digest[LF_SHA256_BYTES];
    if (size < version + version_bytes + LF_SHA256_BYTES ||
        memcmp(bytes, header, LF_MAGIC_BYTES) != 0)
        return 0;
    lf_sha256(bytes, size - LF_SHA256_BYTES, digest);
    return memcmp(digest, bytes + size - LF_SHA256_BYTES, sizeof digest) == 0 &&
           memcmp(bytes + version, header + version, version_bytes) == 0;
}

lf_status lf_snapshot_read(const lf_model *model, const void *bytes, size_t size,
                           const void **values) {
    const size_t header = model->snapshot_header_bytes;
    if (!model->snapshot_header)
        return LF_ERR_FINGERPRINT;
    if (!bytes)
        return LF_ERR_ARGUMENT;
    if (!is_snapshot(model, bytes, size))
        return LF_ERR_SNAPSHOT;
    if (size != lf_snapshot_bytes(model) || memcmp(bytes, model->snapshot_header, header) != 0)
        return LF_ERR_WEIGHTS;
    *values = (const char *)bytes + header;
    return LF_OK;
}

void lf_snapshot_take(const lf_model *model, const void *values, void *state, float *c) {
    const float *const h = values;
    if (model->plan)
        lf_states_unpack(model, state, values);
    else
        lf_state_write(model, state, c, h, h + h_floats(model));
}
