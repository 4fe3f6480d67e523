/* Weights for tests: pseudo-random ones, and ones that make c the number of steps. */
#ifndef SMALL_LSTM_H
#define SMALL_LSTM_H

#include "model.h"
#include "pseudo_random.h"

enum { I = 5, H = 19, L = 2 };

static float weight_ih[L][4 * H * H], weight_hh[L][4 * H * H], bias[L][4 * H];
static lf_layer_weights layers[L];

static inline lf_status small_lstm(const char *isa, lf_weight_type type, lf_model **model) {
    uint32_t state = 1;
    for (int l = 0; l < L; l++) {
        for (int j = 0; j < 4 * H * H; j++) {
            weight_ih[l][j] = pseudo_random(&state);
            weight_hh[l][j] = pseudo_random(&state);
        }
        for (int j = 0; j < 4 * H; j++)
            bias[l][j] = pseudo_random(&state);
        layers[l] = (lf_layer_weights){.weight_ih = weight_ih[l],
                                       .weight_hh = weight_hh[l],
                                       .bias_ih = bias[l],
                                       .bias_hh = bias[l]};
    }
    return lf_model_create(I, H, 0, L, layers, type, isa, NULL, model);
}

/* All gates are open and 1 comes in at each step, so that every c is the number of steps taken. */
static inline lf_status counting_lstm(const char *isa, lf_model **model) {
    static float zeros[4 * H * H], open[4 * H];
    for (int j = 0; j < 4 * H; j++)
        open[j] = 60;
    const lf_layer_weights layer = {.weight_ih = zeros, .weight_hh = zeros, .bias_ih = open};
    return lf_model_create(I, H, 0, 1, &layer, LF_FLOAT32, isa, NULL, model);
}

#endif
