/* Checks weights and owns the memory of a model. */
#define _DEFAULT_SOURCE /* madvise */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "internal.h"

/* Far above any LSTM, and low enough that no product of two sizes below can overflow. */
#define SIZE_LIMIT ((size_t)LF_MAX_SIZE)

void *lf_alloc_zeroed(size_t bytes) {
    bytes = lf_round_up(bytes, LF_ALIGNMENT);
    void *memory = aligned_alloc(LF_ALIGNMENT, bytes);
    if (memory)
        memset(memory, 0, bytes);
    return memory;
}

/*
 * Weights that a large page holds well get large pages where the system has them: without, a cold step
 * looks up a page every 4 KiB, and which small pages one draws decides how well they share the cache.
 */
#define LARGE_PAGE ((size_t)2 << 20)
#define LARGE_ENOUGH (LARGE_PAGE / 8)

static char *alloc_weights(size_t bytes) {
    if (bytes < LARGE_ENOUGH || bytes > SIZE_MAX / 2)
        return lf_alloc_zeroed(bytes);
    const size_t whole = lf_round_up(bytes, LARGE_PAGE);
    char *memory = aligned_alloc(LARGE_PAGE, whole);
    if (!memory)
        return NULL;
#if defined(MADV_HUGEPAGE)
    (void)madvise(memory, whole, MADV_HUGEPAGE); /* before the first touch; may be refused */
#endif
    memset(memory, 0, bytes);
    return memory;
}

static int all_finite(const float *values, size_t count) {
    for (size_t j = 0; j < count; j++)
        if (!isfinite(values[j]))
            return 0;
    return 1;
}

static lf_status check_layer(const lf_layer_weights *layer, size_t input_size, size_t hidden_size) {
    const size_t rows = LF_GATES * hidden_size;
    if (!layer->weight_ih || !layer->weight_hh)
        return LF_ERR_ARGUMENT;
    if (!all_finite(layer->weight_ih, rows * input_size) ||
        !all_finite(layer->weight_hh, rows * hidden_size))
        return LF_ERR_NONFINITE;
    for (size_t row = 0; row < rows; row++)
        if (!isfinite(lf_bias(layer, row)))
            return LF_ERR_NONFINITE;
    return LF_OK;
}

/* float16 must be able to hold every weight, and 32 bits the sum of a row of 8-bit products. */
static lf_status check_type(const lf_layer_weights *layer, size_t input_size, size_t hidden_size,
                            lf_weight_type type) {
    const size_t largest_sum = (size_t)INT32_MAX / (127 * (127 + 128));
    if (type == LF_INT8 && (input_size > largest_sum || hidden_size > largest_sum))
        return LF_ERR_SHAPE;
    if (type != LF_FLOAT16)
        return LF_OK;
    const size_t rows = LF_GATES * hidden_size;
    for (size_t j = 0; j < rows * input_size; j++)
        if (!lf_fits_float16(layer->weight_ih[j]))
            return LF_ERR_RANGE;
    for (size_t j = 0; j < rows * hidden_size; j++)
        if (!lf_fits_float16(layer->weight_hh[j]))
            return LF_ERR_RANGE;
    return LF_OK;
}

lf_status lf_model_create(size_t input_size, size_t hidden_size, size_t num_layers,
                          const lf_layer_weights *layers, lf_weight_type type, const char *isa_name,
                          lf_model **result) {
    size_t index;
    if (!layers || !result || type < LF_FLOAT32 || type > LF_INT8)
        return LF_ERR_ARGUMENT;
    if (input_size - 1 >= SIZE_LIMIT || hidden_size - 1 >= SIZE_LIMIT ||
        num_layers - 1 >= SIZE_LIMIT)
        return LF_ERR_SHAPE; /* zero wraps round to the largest size */
    lf_status status = lf_isa_choose(isa_name, &index);
    for (size_t l = 0; status == LF_OK && l < num_layers; l++) {
        status = check_layer(&layers[l], l ? hidden_size : input_size, hidden_size);
        if (status == LF_OK)
            status = check_type(&layers[l], l ? hidden_size : input_size, hidden_size, type);
    }
    if (status != LF_OK)
        return status;

    const lf_isa *isa = lf_isa_at(index);
    const size_t padded = lf_round_up(hidden_size, isa->lanes);
    const lf_layer first = {input_size, hidden_size, padded, NULL};
    const lf_layer other = {hidden_size, hidden_size, padded, NULL};
    const size_t first_bytes = lf_packed_bytes(isa, type, &first);
    const size_t other_bytes = lf_packed_bytes(isa, type, &other);
    if (num_layers - 1 > (SIZE_MAX / 2 - first_bytes) / other_bytes)
        return LF_ERR_SHAPE;
    const size_t bytes = first_bytes + (num_layers - 1) * other_bytes;

    lf_model *model = malloc(sizeof *model + num_layers * sizeof *model->layers);
    char *panels = alloc_weights(bytes);
    if (!model || !panels) {
        free(model);
        free(panels);
        return LF_ERR_MEMORY;
    }
    model->isa = isa;
    model->weight_type = type;
    model->input_size = input_size;
    model->hidden_size = hidden_size;
    model->num_layers = num_layers;
    model->padded_hidden = padded;
    model->packed_bytes = bytes;
    model->panels = panels;
    for (size_t l = 0; l < num_layers; l++) {
        lf_layer layer = l ? other : first;
        layer.panels = panels;
        model->layers[l] = layer;
        panels = lf_pack_layer(panels, isa, type, &layer, &layers[l]);
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

lf_weight_type lf_model_weight_type(const lf_model *model) { return model->weight_type; }

const char *lf_model_isa(const lf_model *model) { return model->isa->name; }
