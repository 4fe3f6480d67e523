/*
 * One session, stepped frame by frame: the smallest program around the library.
 *
 *     cc stream.c $(pkg-config --cflags --libs lstm_fast) -o stream
 */
#include <stdio.h>
#include <stdlib.h>

#include <lstm_fast.h>

enum { I = 8, H = 16 };

static void check(lf_status status) {
    if (status != LF_OK) {
        fprintf(stderr, "lstm_fast: %s\n", lf_status_text(status));
        exit(1);
    }
}

int main(void) {
    /* Weights in PyTorch's layout and order of gates (i, f, g, o); a service reads them from a file. */
    static float weight_ih[4 * H * I], weight_hh[4 * H * H], bias[4 * H];
    for (int j = 0; j < 4 * H * I; j++)
        weight_ih[j] = (float)(j % 13 - 6) / 20;
    for (int j = 0; j < 4 * H * H; j++)
        weight_hh[j] = (float)(j % 11 - 5) / 20;
    const lf_layer_weights layer = {
        .weight_ih = weight_ih, .weight_hh = weight_hh, .bias_ih = bias};
    lf_model *model;
    lf_stream *stream;
    check(lf_self_test(NULL)); /* once per program: that this build computes the right bits */
    check(lf_model_create(I, H, 0, 1, &layer, LF_FLOAT32, NULL, NULL, &model));
    check(lf_stream_create(model, &stream));
    printf("lstm_fast %s on %s: %zu -> %zu\n", lf_version(), lf_model_isa(model),
           lf_model_input_size(model), lf_model_output_size(model));

    float x[I], y[H];
    for (int t = 0; t < 5; t++) {
        for (int k = 0; k < I; k++)
            x[k] = (float)((t + k) % 3 - 1);
        check(lf_stream_step_f32(stream, x, y));
        printf("frame %d: y[0] = %+.6f\n", t, (double)y[0]);
    }
    lf_stream_destroy(stream);
    lf_model_destroy(model);
    return 0;
}
