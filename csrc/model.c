/* Checks weights and packs them into panels; see lf_layer in internal.h for the layout. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

/* Far above any LSTM, and low enough that no product of sizes below can overflow. */
#define SIZE_LIMIT ((size_t)1 << 20)

void *lf_alloc_zeroed(size_t bytes) {
    bytes = lf_round_up(bytes, LF_ALIGNMENT);
    void *memory = aligned_alloc(LF_ALIGNMENT, bytes);
    if (memory)
        memset(memory, 0, bytes);
    return memory;
}

static int all_finite(const float *values, size_t count) {
    for (size_t j = 0; j < count; j++)
        if (!isfinite(values[j]))
            return 0;
    return 1;
}

static float bias_of(const lf_layer_weights *layer, size_t row) {
    return (layer->bias_ih ? layer->bias_ih[row] : 0.0f) +
           (layer->bias_hh ? layer->bias_hh[row] : 0.0f);
}

static lf_status check_layer(const lf_layer_weights *layer, size_t input_size, size_t hidden_size) {
    const size_t rows = LF_GATES * hidden_size;
    if (!layer->weight_ih || !layer->weight_hh)
        return LF_ERR_ARGUMENT;
    if (!all_finite(layer->weight_ih, rows * input_size) ||
        !all_finite(layer->weight_hh, rows * hidden_size))
        return LF_ERR_NONFINITE;
    for (size_t row = 0; row < rows; row++)
        if (!isfinite(bias_of(layer, row)))
            return LF_ERR_NONFINITE;
    return LF_OK;
}

/* Writes weights[k][gate][unit] of one panel and one half for all k; returns the end. */
static float *pack_half(float *out, const float *weight, size_t columns, size_t hidden_size,
                        size_t first_unit, size_t units) {
    for (size_t k = 0; k < columns; k++)
        for (size_t gate = 0; gate < LF_GATES; gate++)
            for (size_t unit = first_unit; unit < first_unit + units; unit++)
                *out++ = unit < hidden_size ? weight[(gate * hidden_size + unit) * columns + k] : 0;
    return out;
}

static float *pack_layer(float *out, const lf_isa *isa, const lf_layer *layer,
                         const lf_layer_weights *source) {
    size_t units;
    for (size_t first = 0; first < layer->padded_hidden; first += units) {
        units = isa->panel_vectors * isa->lanes;
        if (first + units > layer->padded_hidden)
            units = isa->lanes;
        for (size_t gate = 0; gate < LF_GATES; gate++)
            for (size_t unit = first; unit < first + units; unit++)
                *out++ = unit < layer->hidden_size
                             ? bias_of(source, gate * layer->hidden_size + unit)
                             : 0;
        out =
            pack_half(out, source->weight_ih, layer->input_size, layer->hidden_size, first, units);
        out =
            pack_half(out, source->weight_hh, layer->hidden_size, layer->hidden_size, first, units);
    }
    return out;
}

lf_status lf_model_create_f32(size_t input_size, size_t hidden_size, size_t num_layers,
                              const lf_layer_weights *layers, const char *isa_name,
                              lf_model **result) {
    size_t index;
    if (!layers || !result)
        return LF_ERR_ARGUMENT;
    if (input_size - 1 >= SIZE_LIMIT || hidden_size - 1 >= SIZE_LIMIT ||
        num_layers - 1 >= SIZE_LIMIT)
        return LF_ERR_SHAPE; /* zero wraps round to the largest size */
    lf_status status = lf_isa_choose(isa_name, &index);
    for (size_t l = 0; status == LF_OK && l < num_layers; l++)
        status = check_layer(&layers[l], l ? hidden_size : input_size, hidden_size);
    if (status != LF_OK)
        return status;

    const lf_isa *isa = lf_isa_at(index);
    const size_t padded = lf_round_up(hidden_size, isa->lanes);
    const size_t row_floats = LF_GATES * padded; /* what one k, or the bias, takes in a layer */
    const size_t first_floats = row_floats * (1 + input_size + hidden_size);
    const size_t other_floats = row_floats * (1 + 2 * hidden_size);
    if (num_layers - 1 > (SIZE_MAX / 2 / sizeof(float) - first_floats) / other_floats)
        return LF_ERR_SHAPE;
    const size_t bytes = (first_floats + (num_layers - 1) * other_floats) * sizeof(float);

    lf_model *model = malloc(sizeof *model + num_layers * sizeof *model->layers);
    float *panels = lf_alloc_zeroed(bytes);
    if (!model || !panels) {
        free(model);
        free(panels);
        return LF_ERR_MEMORY;
    }
    model->isa = isa;
    model->input_size = input_size;
    model->hidden_size = hidden_size;
    model->num_layers = num_layers;
    model->padded_hidden = padded;
    model->packed_bytes = bytes;
    model->panels = panels;
    for (size_t l = 0; l < num_layers; l++) {
        lf_layer layer = {l ? hidden_size : input_size, hidden_size, padded, panels};
        model->layers[l] = layer;
        panels = pack_layer(panels, isa, &layer, &layers[l]);
    }
    *result = model;
    return LF_OK;
}

void lf_model_destroy(lf_model *model) {
    if (model)
        free(model->panels);
    free(model);
}

size_t lf_model_packed_bytes(const lf_model *model) { return model->packed_bytes; }

const char *lf_model_isa(const lf_model *model) { return model->isa->name; }

lf_status lf_activate_f32(const char *isa_name, lf_activation function, const float *x, float *y,
                          size_t count) {
    enum { CHUNK = 256 }; /* any number of whole vectors */
    _Alignas(64) float in[CHUNK] = {0}, out[CHUNK];
    size_t index;
    if ((function != LF_SIGMOID && function != LF_TANH) || (count && (!x || !y)))
        return LF_ERR_ARGUMENT;
    lf_status status = lf_isa_choose(isa_name, &index);
    for (size_t done = 0; status == LF_OK && done < count; done += CHUNK) {
        size_t n = count - done < CHUNK ? count - done : CHUNK;
        memcpy(in, x + done, n * sizeof *in);
        lf_isa_at(index)->activate_f32(function, in, out, CHUNK);
        memcpy(y + done, out, n * sizeof *out);
    }
    return status;
}
