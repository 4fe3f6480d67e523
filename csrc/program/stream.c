/* A session of a whole model: what stream.c does for an LSTM. */
#include "../stream.h"

#include <stdlib.h>
#include <string.h>

#include "../overlap.h"
#include "plan.h"

lf_status lf_model_stream_create(const lf_model *model, lf_stream **result) {
    const lf_plan *const plan = model->plan;
    const size_t header = lf_round_up(sizeof(lf_stream), LF_ALIGNMENT);
    const size_t before = plan->can_fail ? plan->state_bytes : 0;
    const size_t run = lf_run_bytes(plan, 1);
    lf_stream *const stream = lf_alloc_zeroed(header + plan->state_bytes + before + run);
    if (!stream)
        return LF_ERR_MEMORY;
    stream->model = model;
    stream->engine.input_size = model->input_size; /* of one value, where that is all there is */
    stream->engine.output_size = model->output_size;
    stream->state = (char *)stream + header;
    stream->before = before ? stream->state + plan->state_bytes : NULL;
    stream->run_memory = stream->state + plan->state_bytes + before;
    memcpy(stream->state, plan->initial, plan->state_bytes);
    *result = stream;
    return LF_OK;
}

lf_status lf_check_ends(const lf_values *values, const void *const *inputs, size_t steps,
                        void *const *outputs) {
    for (size_t n = 0; n < values->input_count; n++)
        if (!inputs[n])
            return LF_ERR_ARGUMENT;
    for (size_t n = 0; n < values->output_count; n++)
        if (!outputs[n])
            return LF_ERR_ARGUMENT;
    for (size_t n = 0; n < values->output_count; n++) {
        const size_t bytes = steps * values->outputs[n].bytes;
        for (size_t i = 0; i < values->input_count; i++)
            if (lf_overlap(inputs[i], steps * values->inputs[i].bytes, outputs[n], bytes))
                return LF_ERR_OVERLAP;
        for (size_t i = 0; i < n; i++)
            if (lf_overlap(outputs[i], steps * values->outputs[i].bytes, outputs[n], bytes))
                return LF_ERR_OVERLAP;
    }
    return LF_OK;
}

lf_status lf_model_stream_run(lf_stream *stream, const void *const *inputs, size_t steps,
                              void *const *outputs) {
    const lf_plan *const plan = stream->model->plan;
    if (!steps)
        return LF_OK;
    lf_status status = lf_check_ends(&stream->model->values, inputs, steps, outputs);
    if (status == LF_OK)
        status = lf_stream_enter(stream, LF_STREAM_ADVANCES);
    if (status != LF_OK)
        return status;
    if (stream->before && steps > 1)
        memcpy(stream->before, stream->state, plan->state_bytes);
    for (size_t t = 0; status == LF_OK && t < steps; t++) {
        status = lf_run_step(plan, stream->run_memory, 1, &stream->state, &t, inputs, outputs);
        if (status != LF_OK && t)
            memcpy(stream->state, stream->before, plan->state_bytes);
    }
    lf_stream_leave(stream);
    return status;
}

lf_status lf_model_stream_reset(lf_stream *stream) {
    const lf_plan *const plan = stream->model->plan;
    const lf_status status = lf_stream_enter(stream, LF_STREAM_OVERWRITES);
    if (status != LF_OK)
        return status;
    memcpy(stream->state, plan->initial, plan->state_bytes);
    return lf_stream_leave(stream);
}

lf_status lf_model_stream_get(lf_stream *stream, void *const *states) {
    for (size_t n = 0; n < stream->model->values.state_count; n++)
        if (!states[n])
            return LF_ERR_ARGUMENT;
    const lf_status status = lf_stream_enter(stream, LF_STREAM_LOOKS);
    if (status != LF_OK)
        return status;
    lf_states_read(stream->model, stream->state, states);
    return lf_stream_leave(stream);
}

lf_status lf_model_stream_set(lf_stream *stream, const void *const *states) {
    for (size_t n = 0; n < stream->model->values.state_count; n++)
        if (!states[n])
            return LF_ERR_ARGUMENT;
    const lf_status status = lf_stream_enter(stream, LF_STREAM_OVERWRITES);
    if (status != LF_OK)
        return status;
    lf_states_write(stream->model, stream->state, states);
    return lf_stream_leave(stream);
}

void lf_model_stream_copy(lf_stream *target, const lf_stream *source) {
    memcpy(target->state, source->state, source->model->plan->state_bytes);
}
