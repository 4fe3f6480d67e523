/* A model from inside: weights that are packed once and never change, and what a pass has to know of them. */
#ifndef LF_MODEL_H
#define LF_MODEL_H

#include "kernel.h"
#include "memory/memory.h"
#include "program/values.h"

struct lf_model {
    const lf_isa *isa;
    lf_weight_type weight_type;
    size_t input_size;
    size_t hidden_size;
    size_t output_size;
    size_t num_layers;
    size_t padded_hidden, padded_output;
    size_t packed_bytes;
    size_t
        step_cost; /* of one session's step: those bytes, or multiply-adds where there are more */
    uint64_t hot_gap;     /* see traversal.h */
    int exceeds_l2;       /* its weights do, or leave no room for anything else */
    char *panels;         /* of all layers, one block */
    lf_block panel_block; /* in which that is */
    lf_variant *variants; /* [num_layers], or null where all are plain */
    float *start;         /* h [L][padded_output], then c [L][padded_hidden]; null for zeros */
    int has_projection;
    char *snapshot_header; /* null without a fingerprint: there are no snapshots, then */
    size_t snapshot_header_bytes;
    lf_values values;
    struct lf_plan *plan; /* of a whole model, which has no layers; null where it is an LSTM */
    int has_simple_ends;  /* one input and one output, both float32 */
    lf_layer layers[];    /* [num_layers] */
};

/* Layers of a state start on vector boundaries. */
static inline size_t lf_h_floats(const lf_model *model) {
    return model->num_layers * model->padded_output;
}
static inline size_t lf_c_floats(const lf_model *model) {
    return model->num_layers * model->padded_hidden;
}

/* layer_checks.c: whether the weights of a layer make sense, and fit their type. */
lf_status lf_check_layer(const lf_layer_weights *layer, size_t input_size, size_t hidden_size,
                         size_t proj_size, lf_weight_type type);

/* variants.c: the options of a layer, or those of the plain cell; whether they make sense, are those of the plain cell,
 * and keep h in [-1, 1]. */
const lf_cell_options *lf_options_of(const lf_layer_weights *weights);
lf_status lf_check_variant(const lf_layer_weights *weights, size_t hidden_size, size_t proj_size);
int lf_is_plain(const lf_layer_weights *weights);
int lf_is_bounded(const lf_layer_weights *weights);

/*
 * layer.c. Of a layer whose sizes are known: how many of its panels are wide; the bytes of everything it packs, whole
 * vectors; and packing it from `out` on, which is zeroed and becomes layer->panels. Returns
 * its end. variant: for a layer that is not plain.
 */
uint32_t lf_wide_panels(const lf_isa *isa, lf_weight_type type, const lf_layer *layer);
size_t lf_layer_bytes(const lf_isa *isa, lf_weight_type type, const lf_layer *layer,
                      const lf_layer_weights *weights);
char *lf_pack_layer(char *out, const lf_isa *isa, lf_weight_type type, lf_layer *layer,
                    const lf_layer_weights *weights, lf_variant *variant);
/* b_ih + b_hh of one row */
float lf_bias(const lf_layer_weights *weights, size_t row);

#endif
