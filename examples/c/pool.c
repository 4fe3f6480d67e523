/*
 * Many sessions of one model, stepped together; each gets the bits that it would get alone.
 *
 *     cc pool.c $(pkg-config --cflags --libs lstm_fast) -o pool
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <lstm_fast.h>

enum { I = 8, H = 16, SESSIONS = 3 };

static void check(lf_status status) {
    if (status != LF_OK) {
        fprintf(stderr, "lstm_fast: %s\n", lf_status_text(status));
        exit(1);
    }
}

int main(void) {
    static float weight_ih[4 * H * I], weight_hh[4 * H * H];
    for (int j = 0; j < 4 * H * I; j++)
        weight_ih[j] = (float)(j % 13 - 6) / 20;
    for (int j = 0; j < 4 * H * H; j++)
        weight_hh[j] = (float)(j % 11 - 5) / 20;
    const lf_layer_weights layer = {.weight_ih = weight_ih, .weight_hh = weight_hh};
    lf_model *model;
    lf_stream *alone;
    lf_pool *pool;
    unsigned long long handles[SESSIONS];
    check(lf_model_create(I, H, 0, 1, &layer, LF_FLOAT32, NULL, NULL, &model));
    check(lf_stream_create(model, &alone));
    check(lf_pool_create(model, SESSIONS, 0, 1, &pool));
    for (int n = 0; n < SESSIONS; n++)
        check(lf_pool_open(pool, &handles[n]));

    float xs[SESSIONS][I], ys[SESSIONS][H], y[H];
    for (int t = 0; t < 4; t++) {
        for (int n = 0; n < SESSIONS; n++)
            for (int k = 0; k < I; k++)
                xs[n][k] = (float)((t + k * (n + 1)) % 3 - 1);
        size_t bad; /* which handle an error is about */
        check(lf_pool_step_f32(pool, handles, SESSIONS, xs[0], ys[0], &bad));
        check(lf_stream_step_f32(alone, xs[0], y));
        if (memcmp(y, ys[0], sizeof y) != 0) {
            fprintf(stderr, "the first session has other bits than a stream of its own\n");
            return 1;
        }
    }
    printf("%zu sessions, the same bits as alone\n", lf_pool_open_count(pool));
    check(lf_pool_close(pool, handles[0]));
    if (lf_pool_step_f32(pool, handles, 1, xs[0], ys[0], NULL) != LF_ERR_HANDLE)
        return 1;
    lf_pool_destroy(pool);
    lf_stream_destroy(alone);
    lf_model_destroy(model);
    return 0;
}
