#include "state.h"

#include <string.h>

#include "anywhere.h"

void lf_state_read(const lf_model *model, const float *h, const float *c, float *h_out,
                   float *c_out) {
    const size_t P = model->output_size, H = model->hidden_size;
    for (size_t l = 0; l < model->num_layers; l++) {
        lf_copy_floats(h_out + l * P, h + l * model->padded_output, P);
        lf_copy_floats(c_out + l * H, c + l * model->padded_hidden, H);
    }
}

void lf_state_write(const lf_model *model, float *h, float *c, const float *h_in,
                    const float *c_in) {
    const size_t P = model->output_size, H = model->hidden_size;
    memset(h, 0, lf_h_floats(model) * sizeof(float)); /* the padding, too: it may hold NaN */
    memset(c, 0, lf_c_floats(model) * sizeof(float));
    for (size_t l = 0; l < model->num_layers; l++) {
        lf_copy_floats(h + l * model->padded_output, h_in + l * P, P);
        lf_copy_floats(c + l * model->padded_hidden, c_in + l * H, H);
    }
    model->isa->canonicalise_f32(h, lf_h_floats(model));
    model->isa->canonicalise_f32(c, lf_c_floats(model));
}

void lf_state_start(const lf_model *model, float *h, float *c) {
    const size_t h_bytes = lf_h_floats(model) * sizeof(float);
    const size_t c_bytes = lf_c_floats(model) * sizeof(float);
    if (model->start) {
        memcpy(h, model->start, h_bytes);
        memcpy(c, model->start + lf_h_floats(model), c_bytes);
    } else {
        memset(h, 0, h_bytes);
        memset(c, 0, c_bytes);
    }
}
