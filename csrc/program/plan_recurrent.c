/* LSTM and GRU layers: the first has kernels of its own, the second is products and what comes after them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../model.h"
#include "../tuning.h"
#include "planner.h"

/* The operands of an LSTM, by their positions. */
enum { X, H, C, WEIGHT_IH, WEIGHT_HH, BIAS, WEIGHT_HR, PEEPHOLE, LAYER_NORM, BIAS_HR };
/* Its attributes: three functions, a name and two parameters each, and so on. */
enum { GATE = 0, INPUT = 3, OUTPUT = 6, CLIP = 9, CELL_CLIP, PROJ_CLIP, COUPLED, EPSILON };

static const float *constant_of(const lf_planner *planner, const lf_op *op, uint32_t n) {
    const lf_tensor *const tensor = lf_operand_tensor(planner, op, n);
    return tensor ? tensor->constant : NULL;
}

/* A parameter that an activation has is finite, so what is not is none of it, and means nothing. */
static float parameter_of(const lf_attribute *attribute) {
    return isfinite(attribute->real) ? attribute->real : 0.0f;
}

/* 0: the core has no such activation. */
static int function_of(const lf_attribute *attributes, lf_function *function) {
    if (attributes[0].whole > LF_SOFTSIGN)
        return 0;
    function->name = (lf_activation)attributes[0].whole;
    function->alpha = parameter_of(attributes + 1);
    function->beta = parameter_of(attributes + 2);
    return 1;
}

int lf_lstm_weights(const lf_planner *planner, const lf_op *op, lf_cell_options *cell,
                    lf_layer_weights *weights) {
    const lf_attribute *const a = op->attributes;
    memset(cell, 0, sizeof *cell);
    memset(weights, 0, sizeof *weights);
    if (!function_of(a + GATE, &cell->gate) || !function_of(a + INPUT, &cell->input) ||
        !function_of(a + OUTPUT, &cell->output))
        return 0;
    cell->clip = a[CLIP].real;
    cell->cell_clip = a[CELL_CLIP].real;
    cell->coupling = (lf_coupling)a[COUPLED].whole;
    cell->layer_norm_epsilon = a[EPSILON].real;
    weights->weight_ih = constant_of(planner, op, WEIGHT_IH);
    weights->weight_hh = constant_of(planner, op, WEIGHT_HH);
    weights->bias_ih = constant_of(planner, op, BIAS);
    weights->weight_hr = constant_of(planner, op, WEIGHT_HR);
    /* where there is no projection it clips nothing, and is no mistake */
    cell->proj_clip = weights->weight_hr ? a[PROJ_CLIP].real : 0.0f;
    weights->peephole = constant_of(planner, op, PEEPHOLE);
    weights->layer_norm = constant_of(planner, op, LAYER_NORM);
    weights->bias_hr = constant_of(planner, op, BIAS_HR);
    weights->cell = cell;
    return 1;
}

static lf_layer *new_layer(lf_planner *planner, const lf_op *op, const lf_layer_weights *weights,
                           lf_weight_type type) {
    const lf_tensor *const x = lf_operand_tensor(planner, op, X);
    const size_t hidden = lf_operand_tensor(planner, op, C)->count;
    const size_t output = lf_operand_tensor(planner, op, H)->count;
    lf_layer *const layer = lf_alloc_zeroed(sizeof(lf_layer) + sizeof(lf_variant));
    if (!layer) {
        lf_fail(planner, LF_ERR_MEMORY);
        return NULL;
    }
    layer->input_size = x->count;
    layer->hidden_size = hidden;
    layer->output_size = output;
    layer->padded_hidden = lf_round_up(hidden, planner->isa->lanes);
    layer->padded_output = lf_round_up(output, planner->isa->lanes);
    layer->h_is_bounded = lf_is_bounded(weights) != 0;
    layer->wide_panels = lf_wide_panels(planner->isa, type, layer);
    return layer;
}

/* Scratch of so many floats in whole vectors of any ISA. */
static lf_place new_row(lf_planner *planner, size_t floats) {
    return lf_new_buffer(planner, floats * sizeof(float));
}

/* h, as an operation takes it: whether it is a state or a part of one, and the number of the instruction, from 1, that
 * copies it from there; 0: none has to. */
typedef struct recurrent_operand {
    lf_place at;
    int is_state;
    size_t copy;
} recurrent_operand;

static recurrent_operand plan_h(lf_planner *planner, const lf_op *op, uint32_t n) {
    const lf_view view = lf_operand_view(planner, op, n);
    const size_t before = planner->plan->instruction_count;
    recurrent_operand h = {lf_dense_operand(planner, view).at, view.at.room == LF_IN_STATE, 0};
    if (planner->plan->instruction_count > before)
        h.copy = before + 1;
    return h;
}

/* The last instruction can do what h alone makes, so many floats, ahead of a step. */
static void keep_half(lf_planner *planner, recurrent_operand h, size_t floats) {
    lf_plan *const plan = planner->plan;
    if (planner->status != LF_OK || !h.is_state)
        return;
    lf_instruction *const one = &plan->instructions[plan->instruction_count - 1];
    one->can_prepare = 1;
    one->kept = plan->kept_bytes;
    one->h_copied_ahead = h.copy ? plan->instruction_count - h.copy : 0;
    plan->kept_bytes += lf_round_up(floats * sizeof(float), LF_ALIGNMENT);
}

static lf_view row_view(lf_place at, const lf_tensor *tensor) {
    const uint32_t order[LF_MAX_RANK] = {0};
    return lf_dense_view(at, LF_KIND_FLOAT32, &tensor->shape, order);
}

void lf_plan_lstm(lf_planner *planner, const lf_op *op) {
    const lf_weight_type type = lf_type_of(planner, op);
    lf_cell_options cell;
    lf_layer_weights weights;
    if (!lf_lstm_weights(planner, op, &cell, &weights)) {
        lf_fail(planner, LF_ERR_UNSUPPORTED);
        return;
    }
    const size_t inputs = lf_operand_tensor(planner, op, X)->count;
    const size_t hidden = lf_operand_tensor(planner, op, C)->count;
    const size_t output = lf_operand_tensor(planner, op, H)->count;
    lf_fail(planner,
            lf_check_layer(&weights, inputs, hidden, weights.weight_hr ? output : 0, type));
    if (planner->status != LF_OK)
        return;
    lf_instruction one = {.kind = LF_RUN_LSTM, .results = 2, .places = 7};
    one.x[0] = lf_dense_operand(planner, lf_operand_view(planner, op, X)).at;
    const recurrent_operand h = plan_h(planner, op, H);
    one.x[1] = h.at;
    one.x[2] = lf_dense_operand(planner, lf_operand_view(planner, op, C)).at;
    const size_t widest = inputs > hidden ? inputs : hidden;
    const size_t aligned = lf_round_up(widest > output ? widest : output, 2 * LF_ALIGNMENT);
    one.x[3] = new_row(planner, inputs);
    one.x[4] = new_row(planner, hidden > output ? hidden : output);
    one.x[5] = lf_new_buffer(planner, LF_HALVES * aligned * sizeof(uint16_t));
    one.x[6] = new_row(planner, lf_is_plain(&weights) ? 1 : LF_PRE_ROWS * lf_round_up(hidden, 16));
    one.y[0] = new_row(planner, output);
    one.y[1] = new_row(planner, hidden);
    one.lstm.type = type;
    lf_set_result(planner, op, 0, row_view(one.y[0], lf_result_tensor(planner, op, 0)));
    lf_set_result(planner, op, 1, row_view(one.y[0], lf_result_tensor(planner, op, 1)));
    lf_set_result(planner, op, 2, row_view(one.y[1], lf_result_tensor(planner, op, 2)));
    lf_layer *const layer = new_layer(planner, op, &weights, type);
    one.lstm.layer = layer;
    one.lstm.quant_bytes = aligned * sizeof(uint16_t);
    if (!layer)
        return;
    const size_t bytes = lf_layer_bytes(planner->isa, type, layer, &weights);
    const lf_place at = lf_new_model_place(planner, bytes);
    lf_packing *const packing = bytes > SIZE_MAX / 4 ? NULL : lf_new_packing(planner, LF_PACK_LSTM);
    if (packing) {
        packing->offset = (size_t)at.offset;
        packing->instruction = planner->plan->instruction_count;
        packing->op = op;
    }
    planner->plan->has_lstm = 1;
    if (!packing || !lf_emit(planner, &one))
        lf_free(layer);
    else
        keep_half(planner, h, LF_GATES * layer->padded_hidden);
}

/* ---- GRU ---- */

/* One product of a row: `rows` rows of weights from `first` on; returns where its result is. */
static lf_place emit_rows(lf_planner *planner, const lf_op *op, uint32_t weight, uint32_t bias,
                          size_t first, size_t rows, lf_place x) {
    const lf_tensor *const w = lf_operand_tensor(planner, op, weight);
    const size_t columns = w->shape.sizes[1];
    const lf_run_product run = {.product = {.outputs = rows},
                                .rows = {.rank = 1, .sizes = {1}, .strides = {{1}, {0}}},
                                .row_count = 1,
                                .segments = 1,
                                .segment_count = columns};
    const lf_packing weights = {.weight = w->constant,
                                .bias = constant_of(planner, op, bias),
                                .first_row = first,
                                .channels = columns,
                                .kernel = {1, 1},
                                .taps = {1, 1}};
    const lf_place y = lf_new_buffer(planner, rows * sizeof(float));
    lf_emit_product(planner, op, &run, y, x, &weights);
    return y;
}

void lf_plan_gru(lf_planner *planner, const lf_op *op) {
    enum { GRU_H = 1, GRU_IH, GRU_HH, GRU_BIAS_IH, GRU_BIAS_HH };
    const size_t hidden = lf_operand_tensor(planner, op, GRU_H)->count;
    const int is_linear = op->attributes[0].whole;
    const lf_place x = lf_dense_operand(planner, lf_operand_view(planner, op, 0)).at;
    const recurrent_operand h = plan_h(planner, op, GRU_H);
    const lf_place a = emit_rows(planner, op, GRU_IH, GRU_BIAS_IH, 0, 3 * hidden, x);
    const size_t at_once = is_linear ? 3 : 2;
    const lf_place u = emit_rows(planner, op, GRU_HH, GRU_BIAS_HH, 0, at_once * hidden, h.at);
    keep_half(planner, h, at_once * hidden);
    lf_place u_n = u;
    if (is_linear) {
        u_n.offset += (ptrdiff_t)(2 * hidden * sizeof(float));
    } else {
        lf_instruction reset = {.kind = LF_RUN_GRU_RESET, .results = 1, .places = 3};
        reset.y[0] = lf_new_buffer(planner, hidden * sizeof(float));
        reset.x[0] = a;
        reset.x[1] = u;
        reset.x[2] = h.at;
        reset.gru.hidden_size = hidden;
        lf_emit(planner, &reset);
        u_n = emit_rows(planner, op, GRU_HH, GRU_BIAS_HH, 2 * hidden, hidden, reset.y[0]);
    }
    lf_instruction last = {.kind = LF_RUN_GRU_OUTPUT, .results = 1, .places = 4};
    const lf_view y = lf_new_result(planner, op, 0, NULL);
    lf_set_result(planner, op, 1, y);
    last.y[0] = y.at;
    last.x[0] = a;
    last.x[1] = u;
    last.x[2] = u_n;
    last.x[3] = h.at;
    last.gru.hidden_size = hidden;
    last.gru.is_linear = is_linear;
    lf_emit(planner, &last);
}
