/* One session: its state, its scratch, and the calls that advance it. */
#include <stdlib.h>
#include <string.h>

#include "forks.h"
#include "overlap.h"
#include "snapshot.h"
#include "state.h"
#include "stream.h"

lf_status lf_stream_create(const lf_model *model, lf_stream **result) {
    if (!model || !result)
        return LF_ERR_ARGUMENT;
    if (model->plan)
        return lf_model_stream_create(model, result);
    const size_t aligned = LF_ALIGNMENT / sizeof(float);
    const size_t header = lf_round_up(sizeof(lf_stream), LF_ALIGNMENT);
    const size_t x = lf_round_up(model->input_size, aligned);
    const size_t h = lf_round_up(lf_h_floats(model), aligned);
    const size_t c = lf_round_up(lf_c_floats(model), aligned);
    const size_t pre = model->variants ? LF_PRE_ROWS * model->padded_hidden : 0;
    /* two bytes each, for the ISA that wants them widest: a frame, an h, and what becomes one */
    size_t widest = x > model->padded_hidden ? x : model->padded_hidden;
    widest = widest > model->padded_output ? widest : model->padded_output;
    const size_t quants = lf_round_up(widest, 2 * aligned);
    const size_t floats = x + 2 * h + (1 + LF_GATES) * c + quants + pre;
    lf_stream *stream = lf_alloc_zeroed(header + floats * sizeof(float));
    if (!stream)
        return LF_ERR_MEMORY;
    stream->model = model;
    stream->engine = lf_engine_of(model);
    stream->x = (float *)((char *)stream + header);
    stream->c = stream->x + x;
    lf_place_h(stream);
    stream->recurrent = stream->h_next + h;
    stream->quants[0] = stream->recurrent + LF_GATES * c;
    stream->quants[1] = (float *)stream->quants[0] + quants / 2;
    stream->pre = (float *)stream->quants[0] + quants;
    lf_state_start(model, stream->h, stream->c);
    *result = stream;
    return LF_OK;
}

void lf_stream_destroy(lf_stream *stream) { lf_free(stream); }

/* One layer: halves of its sums, and the new state unless that is the recurrent one alone. */
static void pass_over(lf_stream *stream, size_t l, const float *input, lf_halves halves,
                      int descending, int32_t x_magnitude) {
    const lf_layer *layer = &stream->engine.layers[l];
    const size_t h_at = l * layer->padded_output, c_at = l * layer->padded_hidden;
    lf_pass pass = {
        .x_magnitude = x_magnitude,
        .x = input,
        .h = stream->h + h_at,
        .c = stream->c + c_at,
        .h_out = stream->h_next + h_at,
        .recurrent = stream->recurrent + LF_GATES * c_at,
        .quants = {stream->quants[0], stream->quants[1]},
        .pre = stream->pre,
    };
    lf_run_pass(&stream->engine, l, halves, descending, &pass);
}

static void advance(lf_stream *stream, const float *x, float *y, int descending) {
    const lf_engine *engine = &stream->engine;
    const lf_halves halves = stream->prepared ? lf_input_half : lf_both_halves;
    const float *input = stream->x;
    int32_t magnitude = engine->take_frame_f32(stream->x, x, engine->input_size);
    for (size_t l = 0; l < engine->num_layers; l++) {
        pass_over(stream, l, input, halves, descending, magnitude);
        magnitude = 0;
        input = stream->h_next + l * engine->layers[l].padded_output;
    }
    float *h = stream->h;
    stream->h = stream->h_next;
    stream->h_next = h;
    stream->prepared = 0;
    engine->give_output_f32(y, input, engine->output_size);
}

lf_status lf_stream_prepare(lf_stream *stream) {
    if (!stream)
        return LF_ERR_ARGUMENT;
    if (stream->state)
        return lf_model_stream_prepare(stream);
    const lf_status status =
        lf_enter(stream, LF_TO_LOOK); /* which h and c are none the worse for */
    if (status != LF_OK)
        return status;
    if (!stream->prepared) {
        const int descending = lf_next_descends(stream->engine.hot_gap);
        /* the first layer last: the step begins with what this leaves in the caches */
        for (size_t l = stream->engine.num_layers; l-- > 0;)
            pass_over(stream, l, NULL, lf_recurrent_half, descending, 0);
        stream->prepared = 1;
    }
    return lf_leave(stream);
}

static lf_status check_run(const lf_stream *stream, const float *xs, size_t steps,
                           const float *ys) {
    if (!stream || (steps && (!xs || !ys)))
        return LF_ERR_ARGUMENT;
    return lf_overlap(xs, steps * stream->engine.input_size * sizeof(float), ys,
                      steps * stream->engine.output_size * sizeof(float))
               ? LF_ERR_OVERLAP
               : LF_OK;
}

static void advance_many(lf_stream *stream, const float *xs, size_t steps, float *ys) {
    const size_t I = stream->engine.input_size, P = stream->engine.output_size;
    const uint64_t hot_gap = stream->engine.hot_gap;
    for (size_t t = 0; t < steps; t++)
        advance(stream, xs + t * I, ys + t * P,
                t ? lf_next_descends_at_once(hot_gap) : lf_next_descends(hot_gap));
}

static lf_status run_model_f32(lf_stream *stream, const float *xs, size_t steps, float *ys) {
    const void *const inputs[1] = {xs};
    void *const outputs[1] = {ys};
    return stream->model->has_simple_ends ? lf_model_stream_run(stream, inputs, steps, outputs)
                                          : LF_ERR_KIND;
}

lf_status lf_stream_run_f32(lf_stream *stream, const float *xs, size_t steps, float *ys) {
    lf_status status = check_run(stream, xs, steps, ys);
    if (status == LF_OK && stream->state)
        return run_model_f32(stream, xs, steps, ys);
    if (status == LF_OK)
        status = lf_enter(stream, LF_TO_ADVANCE);
    if (status != LF_OK)
        return status;
    advance_many(stream, xs, steps, ys);
    return lf_leave(stream);
}

static int run_model_in_pieces(lf_stream *stream, const float *xs, size_t steps, float *ys,
                               lf_go_on go_on, void *context) {
    const void *const inputs[1] = {xs};
    void *const outputs[1] = {ys};
    return stream->model->has_simple_ends
               ? lf_model_stream_run_in_pieces(stream, inputs, steps, outputs, go_on, context)
               : LF_ERR_KIND;
}

int lf_stream_run_in_pieces(lf_stream *stream, const float *xs, size_t steps, float *ys,
                            lf_go_on go_on, void *context) {
    lf_status status = check_run(stream, xs, steps, ys);
    if (status != LF_OK)
        return (int)status;
    if (stream->state)
        return run_model_in_pieces(stream, xs, steps, ys, go_on, context);
    const lf_model *model = stream->model;
    const size_t piece = lf_piece_steps(model, 1), h = lf_h_floats(model), c = lf_c_floats(model);
    float *before = malloc((h + c) * sizeof(float));
    if (!before)
        return LF_ERR_MEMORY;
    int result = (int)lf_enter(stream, LF_TO_ADVANCE);
    if (result == LF_OK) {
        const uint32_t process = lf_process();
        memcpy(before, stream->h, h * sizeof(float));
        memcpy(before + h, stream->c, c * sizeof(float));
        while (steps > piece && result == LF_OK) {
            advance_many(stream, xs, piece, ys);
            xs += piece * stream->engine.input_size;
            ys += piece * stream->engine.output_size;
            steps -= piece;
            result = go_on(context) ? LF_OK : LF_STOPPED;
            if (lf_process() != process) { /* go_on has forked, and this is the child */
                free(before);
                return result == LF_OK ? LF_ERR_FORKED : result;
            }
        }
        if (result == LF_OK) {
            advance_many(stream, xs, steps, ys);
        } else {
            memcpy(stream->h, before, h * sizeof(float));
            memcpy(stream->c, before + h, c * sizeof(float));
        }
        lf_leave(stream);
    }
    free(before);
    return result;
}

lf_status lf_stream_step_f32(lf_stream *stream, const float *x, float *y) {
    return lf_stream_run_f32(stream, x, 1, y);
}

lf_status lf_stream_run(lf_stream *stream, const void *const *inputs, size_t steps,
                        void *const *outputs) {
    if (!stream || !inputs || !outputs)
        return LF_ERR_ARGUMENT;
    return stream->state ? lf_model_stream_run(stream, inputs, steps, outputs)
                         : lf_stream_run_f32(stream, inputs[0], steps, outputs[0]);
}

int lf_stream_run_values_in_pieces(lf_stream *stream, const void *const *inputs, size_t steps,
                                   void *const *outputs, lf_go_on go_on, void *context) {
    if (!stream || !inputs || !outputs)
        return LF_ERR_ARGUMENT;
    return stream->state
               ? lf_model_stream_run_in_pieces(stream, inputs, steps, outputs, go_on, context)
               : lf_stream_run_in_pieces(stream, inputs[0], steps, outputs[0], go_on, context);
}

lf_status lf_stream_step(lf_stream *stream, const void *const *inputs, void *const *outputs) {
    return lf_stream_run(stream, inputs, 1, outputs);
}

lf_status lf_stream_reset(lf_stream *stream) {
    if (!stream)
        return LF_ERR_ARGUMENT;
    if (stream->state)
        return lf_model_stream_reset(stream);
    const lf_status status = lf_enter(stream, LF_TO_OVERWRITE);
    if (status != LF_OK)
        return status;
    lf_state_start(stream->model, stream->h, stream->c);
    stream->prepared = 0;
    return lf_leave(stream);
}

lf_status lf_stream_get_state_f32(lf_stream *stream, float *h, float *c) {
    if (!stream || !h || !c)
        return LF_ERR_ARGUMENT;
    if (stream->state)
        return LF_ERR_KIND;
    const lf_status status = lf_enter(stream, LF_TO_LOOK);
    if (status != LF_OK)
        return status;
    lf_state_read(stream->model, stream->h, stream->c, h, c);
    return lf_leave(stream);
}

lf_status lf_stream_set_state_f32(lf_stream *stream, const float *h, const float *c) {
    if (!stream || !h || !c)
        return LF_ERR_ARGUMENT;
    if (stream->state)
        return LF_ERR_KIND;
    const lf_status status = lf_enter(stream, LF_TO_OVERWRITE);
    if (status != LF_OK)
        return status;
    lf_state_write(stream->model, stream->h, stream->c, h, c);
    stream->prepared = 0;
    return lf_leave(stream);
}

lf_status lf_stream_get_states(lf_stream *stream, void *const *states) {
    if (!stream || !states)
        return LF_ERR_ARGUMENT;
    return stream->state ? lf_model_stream_get(stream, states)
                         : lf_stream_get_state_f32(stream, states[0], states[1]);
}

lf_status lf_stream_set_states(lf_stream *stream, const void *const *states) {
    if (!stream || !states)
        return LF_ERR_ARGUMENT;
    return stream->state ? lf_model_stream_set(stream, states)
                         : lf_stream_set_state_f32(stream, states[0], states[1]);
}

lf_status lf_stream_copy(lf_stream *target, lf_stream *source) {
    if (!target || !source)
        return LF_ERR_ARGUMENT;
    if (target->model != source->model)
        return LF_ERR_MODEL;
    if (target == source)
        return LF_OK;
    lf_status status = lf_enter(source, LF_TO_LOOK);
    if (status != LF_OK)
        return status;
    status = lf_enter(target, LF_TO_OVERWRITE);
    if (status != LF_OK) {
        lf_leave(source);
        return status;
    }
    if (target->state) {
        lf_model_stream_copy(target, source);
    } else {
        memcpy(target->h, source->h, lf_h_floats(source->model) * sizeof(float));
        memcpy(target->c, source->c, lf_c_floats(source->model) * sizeof(float));
    }
    target->prepared = 0;
    lf_leave(source);
    return lf_leave(target);
}

/* As a snapshot takes it. */
static void *state_of(const lf_stream *stream) {
    return stream->state ? (void *)stream->state : (void *)stream->h;
}

lf_status lf_stream_snapshot(lf_stream *stream, void *bytes, size_t size) {
    if (!stream)
        return LF_ERR_ARGUMENT;
    lf_status status = lf_snapshot_check_room(stream->model, bytes, size);
    if (status == LF_OK)
        status = lf_enter(stream, LF_TO_LOOK);
    if (status != LF_OK)
        return status;
    lf_snapshot_write(stream->model, state_of(stream), stream->c, bytes);
    return lf_leave(stream);
}

lf_status lf_stream_restore(lf_stream *stream, const void *bytes, size_t size) {
    const void *values;
    if (!stream)
        return LF_ERR_ARGUMENT;
    lf_status status = lf_snapshot_read(stream->model, bytes, size, &values);
    if (status == LF_OK)
        status = lf_enter(stream, LF_TO_OVERWRITE);
    if (status != LF_OK)
        return status;
    lf_snapshot_take(stream->model, values, state_of(stream), stream->c);
    stream->prepared = 0;
    return lf_leave(stream);
}
