/* A pass over a layer is made here, for a stream and for the sessions of a pool. */
#ifndef LF_PASS_H
#define LF_PASS_H

#include "model.h"
#include "traversal.h"

/* Which halves of the sums: LF_INPUT, LF_RECURRENT or both. */
typedef struct lf_halves {
    size_t first, end;
} lf_halves;

static const lf_halves lf_both_halves = {LF_INPUT, LF_HALVES};
static const lf_halves lf_input_half = {LF_INPUT, LF_RECURRENT}; /* the other one is prepared */
static const lf_halves lf_recurrent_half = {LF_RECURRENT, LF_HALVES};

/* What a pass looks up in the model and its ISA. A cold step waits for one line after the other, so it stands in
 * each stream again, together. */
typedef struct lf_engine {
    size_t input_size, output_size, num_layers;
    const lf_layer *layers;
    int32_t (*take_frame_f32)(float *x, const float *frame, size_t count);
    void (*layer_pass)(lf_pass *pass);
    void (*give_output_f32)(float *y, const float *h, size_t count);
    uint64_t hot_gap;
    int exceeds_l2;
    void (*batch_pass)(lf_batch *batch);
} lf_engine;

static inline lf_engine lf_engine_of(const lf_model *model) {
    const lf_isa *isa = model->isa;
    const lf_engine engine = {
        .input_size = model->input_size,
        .output_size = model->output_size,
        .num_layers = model->num_layers,
        .layers = model->layers,
        .take_frame_f32 =
            model->weight_type == LF_INT8 ? isa->measure_frame_f32 : isa->take_frame_f32,
        .layer_pass = isa->layer_pass[model->weight_type],
        .give_output_f32 = isa->give_output_f32,
        .hot_gap = model->hot_gap,
        .exceeds_l2 = model->exceeds_l2,
        .batch_pass = isa->batch_pass[model->weight_type],
    };
    return engine;
}

/* One session. The caller has set the rows of the pass, and this sets the rest. */
static inline void lf_run_pass(const lf_engine *engine, size_t l, lf_halves halves, int descending,
                               lf_pass *pass) {
    pass->layer = &engine->layers[l];
    pass->first_half = halves.first;
    pass->end_half = halves.end;
    pass->descending = descending;
    engine->layer_pass(pass);
}

/* Several sessions, as above. */
static inline void lf_run_batch(const lf_engine *engine, size_t l, lf_halves halves, int descending,
                                lf_batch *batch) {
    batch->layer = &engine->layers[l];
    batch->first_half = halves.first;
    batch->end_half = halves.end;
    batch->descending = descending;
    batch->prefetches = engine->exceeds_l2;
    engine->batch_pass(batch);
}

#endif
