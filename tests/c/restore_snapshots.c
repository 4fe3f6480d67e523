/*
 * Restores snapshots in a stream and a pool of one model. One line for each: the status, and of one that is taken the
 * snapshot of the session after it, in hex.
 *
 *   restore_snapshots [TYPE ...] < files
 *
 * files.h says how they lie there. The first one is the model: a .lfm file, whose operations have weights of these types
 * (numbers of lf_weight_type); or the 32 bytes of a fingerprint, for the LSTM of small_lstm.h.
 */
#include <string.h>

#include "files.h"
#include "small_lstm.h"

#ifdef LF_TEST_OTHER_STATE
enum { IS_OTHER = 1 };
#else
enum { IS_OTHER = 0 };
#endif
enum { LARGEST = 1 << 20, TYPES = 64 }; /* bytes of a snapshot of the model; operations of it */

static lf_status read_model(int count, char **types, lf_model **model) {
    unsigned char *memory = NULL;
    size_t size = 0;
    const unsigned char *const file = next_file(&memory, &size);
    lf_weight_type given[TYPES];
    lf_status status = LF_ERR_ARGUMENT;
    for (int n = 0; n < count && n < TYPES; n++)
        given[n] = (lf_weight_type)strtol(types[n], NULL, 10);
    if (file && size == LF_FINGERPRINT_BYTES) {
        status = small_lstm(NULL, LF_FLOAT32, model); /* makes the weights */
        lf_model_destroy(*model);
        if (!status)
            status = lf_model_create(I, H, 0, L, layers, LF_FLOAT32, NULL, file, model);
    } else if (file && count < TYPES) {
        status = lf_model_load_as(file, size, given, (size_t)count, NULL, model);
    }
    free(memory);
    return status;
}

/* Whether nothing changes where it is refused, and stream and pool do alike; prints its line. */
static int restore(lf_stream *stream, lf_pool *pool, const unsigned char *file, size_t size,
                   size_t bytes) {
    static char before[LARGEST], after[LARGEST];
    unsigned long long handle = 77;
    lf_status status = lf_stream_snapshot(stream, before, bytes);
    const lf_status taken = status ? status : lf_stream_restore(stream, file, size);
    if (IS_OTHER && !taken)
        (void)lf_stream_reset(stream);
    const lf_status in_pool = lf_pool_restore(pool, file, size, &handle);
    if (status || taken != in_pool || lf_stream_snapshot(stream, after, bytes))
        return 0;
    printf("%d", taken);
    if (taken) {
        printf("\n");
        return memcmp(before, after, bytes) == 0 && handle == 77 && lf_pool_open_count(pool) == 0;
    }
    printf(" ");
    for (size_t n = 0; n < bytes; n++)
        printf("%02x", (unsigned char)after[n]);
    printf("\n");
    if (lf_pool_snapshot(pool, handle, before, bytes) || lf_pool_close(pool, handle))
        return 0;
    return memcmp(before, after, bytes) == 0 || IS_OTHER;
}

int main(int count, char **arguments) {
    lf_model *model = NULL;
    lf_stream *stream = NULL;
    lf_pool *pool = NULL;
    unsigned char *memory;
    size_t size;
    lf_status status = read_model(count - 1, arguments + 1, &model);
    if (status || lf_stream_create(model, &stream) || lf_pool_create(model, 1, 0, 1, &pool) ||
        lf_snapshot_bytes(model) > LARGEST) {
        fprintf(stderr, "no model, or none that is tried here: status %d\n", status);
        return 1;
    }
    int is_right = 1;
    for (unsigned char *file; is_right && (file = next_file(&memory, &size)); free(memory))
        is_right = restore(stream, pool, file, size, lf_snapshot_bytes(model));
    lf_pool_destroy(pool);
    lf_stream_destroy(stream);
    lf_model_destroy(model);
    if (!is_right)
        fprintf(stderr, "a stream and a pool differ, or what is refused changes something\n");
    return !is_right;
}
