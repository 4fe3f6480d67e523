/* Checks weights and owns the memory of a model. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "anywhere.h"
#include "cpu/cpu.h"
#include "forks.h"
#include "matrix.h"
#include "model.h"
#include "program/plan.h"
#include "snapshot_header.h"
#include "tuning.h"

/* Far above any LSTM, and low enough that no product of two sizes below can overflow. */
#define SIZE_LIMIT ((size_t)LF_MAX_SIZE)

/* Its weights do, or leave no room for anything else. */
static int exceeds_l2(const lf_model *model) {
    return model->packed_bytes > lf_cpu_l2_bytes() / 4 * LF_L2_FITS_QUARTERS;
}

/*
 * Whether traversals go to and fro, and after how long a pause not. It pays where L2 doesn't hold all, and where L1
 * holds a panel but not all; elsewhere one direction all the time is a little quicker, for the prefetchers of the CPU.
 */
static uint64_t hot_gap(const lf_model *model) {
    const lf_geometry g = lf_geometry_of(model->isa, model->weight_type);
    const lf_matrix m = lf_layer_matrix(&model->layers[0], g, LF_INPUT);
    const size_t panel_bytes = lf_panel_at(&m, g, 0).rows * m.stride;
    const size_t dequantisation_bytes =
        lf_panel_at(&m, g, 0).rows * lf_dequantisation_row_bytes(g, LF_HALVES);
    const int pays = model->packed_bytes > LF_L1_HOLDS &&
                     (panel_bytes + dequantisation_bytes <= LF_L1_KEEPS || model->exceeds_l2);
    return pays ? LF_CACHES_KEEP_TICKS + model->packed_bytes / LF_BYTES_A_TICK : 0;
}

/* Where streams start from that is not zeros; canonical, as all state. Null where it is zeros. */
static lf_status make_start(lf_model *model, const lf_layer_weights *layers) {
    size_t trained = 0;
    for (size_t l = 0; l < model->num_layers; l++)
        trained += layers[l].h_0 || layers[l].c_0;
    if (!trained)
        return LF_OK;
    const size_t h_floats = lf_h_floats(model);
    const size_t floats = h_floats + lf_c_floats(model);
    model->start = lf_alloc_zeroed(floats * sizeof(float));
    if (!model->start)
        return LF_ERR_MEMORY;
    for (size_t l = 0; l < model->num_layers; l++) {
        float *h = model->start + l * model->padded_output;
        float *c = model->start + h_floats + l * model->padded_hidden;
        if (layers[l].h_0)
            lf_copy_floats(h, layers[l].h_0, model->output_size);
        if (layers[l].c_0)
            lf_copy_floats(c, layers[l].c_0, model->hidden_size);
    }
    model->isa->canonicalise_f32(model->start, floats);
    return LF_OK;
}

static lf_layer layer_of(const lf_model *model, const lf_layer_weights *layers, size_t l) {
    lf_layer layer = {
        .input_size = l ? model->output_size : model->input_size,
        .hidden_size = model->hidden_size,
        .output_size = model->output_size,
        .padded_hidden = model->padded_hidden,
        .padded_output = model->padded_output,
        .x_is_bounded = l ? lf_is_bounded(&layers[l - 1]) : layers[0].x_is_bounded,
        .h_is_bounded = lf_is_bounded(&layers[l]),
    };
    layer.wide_panels = lf_wide_panels(model->isa, model->weight_type, &layer);
    return layer;
}

/* Bytes of all layers; 0 where that is more than there can be. */
static size_t all_bytes(const lf_model *model, const lf_layer_weights *layers) {
    size_t bytes = 0;
    for (size_t l = 0; l < model->num_layers; l++) {
        const lf_layer layer = layer_of(model, layers, l);
        const size_t more = lf_layer_bytes(model->isa, model->weight_type, &layer, &layers[l]);
        if (more > SIZE_MAX / 2 - bytes)
            return 0;
        bytes += more;
    }
    return bytes;
}

/* Packs all layers into model->panels, which is zeroed. */
static void pack(lf_model *model, const lf_layer_weights *layers) {
    char *at = model->panels;
    for (size_t l = 0; l < model->num_layers; l++) {
        model->layers[l] = layer_of(model, layers, l);
        at = lf_pack_layer(at, model->isa, model->weight_type, &model->layers[l], &layers[l],
                           model->variants ? &model->variants[l] : NULL);
    }
}

lf_status lf_model_create(size_t input_size, size_t hidden_size, size_t proj_size,
                          size_t num_layers, const lf_layer_weights *layers, lf_weight_type type,
                          const char *isa_name, const unsigned char *fingerprint,
                          lf_model **result) {
    const size_t output_size = proj_size ? proj_size : hidden_size;
    size_t index, variants = 0;
    if (!layers || !result || (unsigned)type >= LF_WEIGHT_TYPES)
        return LF_ERR_ARGUMENT;
    if (input_size - 1 >= SIZE_LIMIT || hidden_size - 1 >= SIZE_LIMIT ||
        num_layers - 1 >= SIZE_LIMIT || proj_size > SIZE_LIMIT)
        return LF_ERR_SHAPE; /* zero wraps round to the largest size */
    lf_status status = lf_isa_choose(isa_name, &index);
    for (size_t l = 0; status == LF_OK && l < num_layers; l++) {
        status =
            lf_check_layer(&layers[l], l ? output_size : input_size, hidden_size, proj_size, type);
        variants += status == LF_OK && !lf_is_plain(&layers[l]);
    }
    if (status == LF_OK && !lf_watch_forks())
        status = LF_ERR_MEMORY;
    if (status != LF_OK)
        return status;

    lf_model *model = lf_alloc_zeroed(sizeof *model + num_layers * sizeof *model->layers);
    if (!model)
        return LF_ERR_MEMORY;
    model->isa = lf_isa_at(index);
    model->weight_type = type;
    model->has_projection = proj_size != 0;
    model->has_simple_ends = 1;
    model->input_size = input_size;
    model->hidden_size = hidden_size;
    model->output_size = output_size;
    model->num_layers = num_layers;
    model->padded_hidden = lf_round_up(hidden_size, model->isa->lanes);
    model->padded_output = lf_round_up(output_size, model->isa->lanes);
    model->packed_bytes = all_bytes(model, layers);
    model->step_cost = model->packed_bytes;
    if (!model->packed_bytes)
        status = LF_ERR_SHAPE;
    if (status == LF_OK) {
        model->exceeds_l2 = exceeds_l2(model);
        model->panels =
            lf_alloc_weights(model->packed_bytes, !model->exceeds_l2, &model->panel_block);
        if (variants)
            model->variants = calloc(num_layers, sizeof *model->variants);
        status = model->panels && (model->variants || !variants) &&
                         lf_describe_lstm(input_size, hidden_size, output_size, num_layers,
                                          &model->values)
                     ? make_start(model, layers)
                     : LF_ERR_MEMORY;
        if (status == LF_OK && fingerprint && !lf_make_lstm_header(model, fingerprint))
            status = LF_ERR_MEMORY;
    }
    if (status != LF_OK) {
        lf_model_destroy(model);
        return status;
    }
    pack(model, layers);
    model->hot_gap = hot_gap(model);
    *result = model;
    return LF_OK;
}

void lf_model_destroy(lf_model *model) {
    if (model) {
        lf_free_weights(&model->panel_block);
        lf_plan_destroy(model->plan);
        free(model->values.memory);
        free(model->snapshot_header);
        free(model->variants);
        lf_free(model->start);
    }
    lf_free(model);
}

size_t lf_model_packed_bytes(const lf_model *model) { return model ? model->packed_bytes : 0; }

lf_weight_type lf_model_weight_type(const lf_model *model) {
    return model ? model->weight_type : LF_FLOAT32;
}

const char *lf_model_isa(const lf_model *model) { return model ? model->isa->name : NULL; }

size_t lf_model_input_size(const lf_model *model) { return model ? model->input_size : 0; }

size_t lf_model_hidden_size(const lf_model *model) { return model ? model->hidden_size : 0; }

size_t lf_model_output_size(const lf_model *model) { return model ? model->output_size : 0; }

size_t lf_model_num_layers(const lf_model *model) { return model ? model->num_layers : 0; }
