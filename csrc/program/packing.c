/* Writes what a plan has of its own: packed weights, and constants. */
#include <stdlib.h>
#include <string.h>

#include "../matrix.h"
#include "../model.h"
#include "planner.h"

/* What a row of weights has for a channel and a tap of those that are packed. */
static float weight_at(const lf_packing *p, size_t row, size_t channel, size_t line, size_t tap) {
    const size_t matrix = (p->first_row + row) * p->channels + channel;
    const size_t whole_line = matrix * p->kernel[0] + p->first_tap[0] + line;
    return p->weight[whole_line * p->kernel[1] + p->first_tap[1] + tap];
}

/* One row of a matrix, tap by tap. */
static void gather_row(const lf_packing *p, size_t row, float *values) {
    for (size_t line = 0; line < p->taps[0]; line++)
        for (size_t tap = 0; tap < p->taps[1]; tap++)
            for (size_t channel = 0; channel < p->channels; channel++)
                *values++ = weight_at(p, row, channel, line, tap);
}

/* None is -0, so that a sum that is zero is +0 with it. */
static void pack_biases(const lf_packing *p, float *bias, size_t rows) {
    for (size_t row = 0; p->bias && row < rows; row++)
        bias[row] = p->bias[p->first_row + row] + 0.0f;
}

static lf_status pack_matrix(const lf_planner *planner, const lf_packing *p) {
    lf_product *const product = &planner->plan->instructions[p->instruction].product.product;
    char *const weights = planner->plan->weights;
    const lf_geometry g = lf_geometry_of(planner->isa, product->type);
    const size_t columns = p->taps[0] * p->taps[1] * p->channels;
    float *const row_values = malloc(columns * sizeof *row_values);
    if (!row_values)
        return LF_ERR_MEMORY;
    product->matrix.panels = weights + p->offset;
    product->bias = (const float *)(const void *)(weights + p->bias_offset);
    lf_status status = LF_OK;
    for (size_t row = 0; status == LF_OK && row < product->outputs; row++) {
        gather_row(p, row, row_values);
        for (size_t k = 0; product->type == LF_FLOAT16 && k < columns; k++)
            if (!lf_fits_float16(row_values[k]))
                status = LF_ERR_RANGE;
        if (status == LF_OK)
            (void)lf_pack_row(&product->matrix, g, planner->isa->int8_offset, row, row_values);
    }
    free(row_values);
    pack_biases(p, (float *)(void *)(weights + p->bias_offset), product->outputs);
    return status;
}

static void pack_filters(const lf_planner *planner, const lf_packing *p) {
    lf_depthwise *const d = &planner->plan->instructions[p->instruction].depthwise;
    float *const filters = (float *)(void *)(planner->plan->weights + p->offset);
    float *const bias = (float *)(void *)(planner->plan->weights + p->bias_offset);
    const size_t rows = d->product.outputs;
    float *values = filters;
    for (size_t line = 0; line < p->taps[0]; line++)
        for (size_t tap = 0; tap < p->taps[1]; tap++, values += d->weights_step)
            for (size_t row = 0; row < rows; row++)
                values[row] = weight_at(p, row, 0, line, tap);
    pack_biases(p, bias, rows);
    d->weights = filters;
    d->product.bias = bias;
}

static void pack_lstm(const lf_planner *planner, const lf_packing *p) {
    const lf_run_lstm *const run = &planner->plan->instructions[p->instruction].lstm;
    lf_cell_options cell;
    lf_layer_weights weights;
    if (lf_lstm_weights(planner, p->op, &cell, &weights)) /* the planner has asked before */
        (void)lf_pack_layer(planner->plan->weights + p->offset, planner->isa, run->type, run->layer,
                            &weights, (lf_variant *)(void *)(run->layer + 1));
}

/* What operations read is canonical; weights stay as they are. */
static void pack_constant(const lf_planner *planner, const lf_packing *p) {
    char *const to = planner->plan->weights + p->offset;
    memcpy(to, p->values, p->count * lf_kind_bytes(p->element));
    if (p->element == LF_KIND_FLOAT32)
        planner->isa->canonicalise_f32((float *)(void *)to,
                                       lf_round_up(p->count, planner->isa->lanes));
}

/* Layer normalisation finds its scale and bias by address. */
static void point_at_constants(const lf_plan *plan, lf_instruction *one) {
    if (one->along.scale)
        one->along.scale = (const float *)(const void *)(plan->weights + one->x[2].offset);
    if (one->along.bias)
        one->along.bias = (const float *)(const void *)(plan->weights + one->x[3].offset);
}

/* From the last product to the first: each fetches those of the next one meanwhile, the last one its own. */
static void point_ahead(lf_plan *plan) {
    const char *next = NULL;
    for (size_t n = plan->instruction_count; n-- > 0;) {
        lf_instruction *const one = &plan->instructions[n];
        if (one->kind == LF_RUN_LSTM)
            next = one->lstm.layer->panels;
        if (one->kind != LF_RUN_PRODUCT)
            continue;
        lf_product *const product = &one->product.product;
        product->ahead = next ? next : product->matrix.panels;
        next = product->matrix.panels;
    }
}

lf_status lf_pack_plan(const lf_planner *planner) {
    lf_status status = LF_OK;
    for (size_t n = 0; n < planner->plan->instruction_count; n++)
        if (planner->plan->instructions[n].kind == LF_RUN_ALONG)
            point_at_constants(planner->plan, &planner->plan->instructions[n]);
    for (size_t n = 0; status == LF_OK && n < planner->packing_count; n++) {
        const lf_packing *const p = &planner->packings[n];
        switch (p->kind) {
        case LF_PACK_CONSTANT:
            pack_constant(planner, p);
            break;
        case LF_PACK_MATRIX:
            status = pack_matrix(planner, p);
            break;
        case LF_PACK_FILTERS:
            pack_filters(planner, p);
            break;
        case LF_PACK_LSTM:
            pack_lstm(planner, p);
            break;
        }
    }
    if (!planner->plan->fits_l2)
        point_ahead(planner->plan);
    return status;
}
