/* A session of a whole model: what stream.c does for an LSTM. */
#include "../stream.h"

#include <stdlib.h>
#include <string.h>

#include "plan.h"

lf_status lf_model_stream_create(const lf_model *model, lf_stream **result) {
    const lf_plan *const plan = model->plan;
    const size_t header = lf_round_up(sizeof(lf_stream), LF_ALIGNMENT);
    const size_t before = plan->can_fail ? plan->state_bytes : 0;
    const size_t run = lf_run_bytes(plan, 1);
    const size_t all = header + plan->state_bytes + before + plan->kept_bytes + run;
    lf_stream *const stream = lf_alloc_zeroed(all);
    if (!stream)
        return LF_ERR_MEMORY;
    stream->model = model;
    stream->engine.input_size = model->input_size; /* of one value, where that is all there is */
    stream->engine.output_size = model->output_size;
    stream->state = (char *)stream + header;
    stream->before = before ? stream->state + plan->state_bytes : NULL;
    stream->recurrent = (float *)(void *)(stream->state + plan->state_bytes + before);
    stream->run_memory = (char *)stream->recurrent + plan->kept_bytes;
    memcpy(stream->state, plan->initial, plan->state_bytes);
    *result = stream;
    return LF_OK;
}

/* The steps from first on. */
static lf_status advance(lf_stream *stream, const void *const *inputs, size_t first, size_t end,
                         void *const *outputs) {
    char *const kept = (char *)stream->recurrent;
    lf_status status = LF_OK;
    size_t bad;
    for (size_t t = first; status == LF_OK && t < end; t++) {
        status = lf_run_step(stream->model->plan, stream->run_memory, 1, &stream->state,
                             stream->prepared ? &kept : NULL, &t, inputs, outputs, &bad);
        if (status == LF_OK)
            stream->prepared = 0;
    }
    return status;
}

lf_status lf_model_stream_prepare(lf_stream *stream) {
    const lf_plan *const plan = stream->model->plan;
    char *const kept = (char *)stream->recurrent;
    const lf_status status = lf_enter(stream, LF_TO_LOOK);
    if (status != LF_OK)
        return status;
    if (!stream->prepared && plan->kept_bytes) {
        lf_run_prepare(plan, stream->run_memory, 1, &stream->state, &kept);
        stream->prepared = 1;
    }
    return lf_leave(stream);
}

lf_status lf_model_stream_run(lf_stream *stream, const void *const *inputs, size_t steps,
                              void *const *outputs) {
    const size_t bytes = stream->model->plan->state_bytes;
    const int keeps = stream->before && steps > 1; /* a single step changes nothing or succeeds */
    if (!steps)
        return LF_OK;
    lf_status status = lf_check_ends(&stream->model->values, inputs, steps, outputs);
    if (status == LF_OK)
        status = lf_enter(stream, LF_TO_ADVANCE);
    if (status != LF_OK)
        return status;
    if (keeps)
        memcpy(stream->before, stream->state, bytes);
    status = advance(stream, inputs, 0, steps, outputs);
    if (keeps && status != LF_OK)
        memcpy(stream->state, stream->before, bytes);
    lf_leave(stream);
    return status;
}

/* As lf_pool_run_values_in_pieces; LF_ERR_FORKED: nothing here is ours any more. */
static int run_pieces(lf_stream *stream, const void *const *inputs, size_t steps,
                      void *const *outputs, lf_go_on go_on, void *context) {
    const size_t piece = lf_piece_steps(stream->model, 1);
    const uint32_t process = lf_process();
    for (size_t first = 0;; first += piece) {
        const size_t end = steps - first > piece ? first + piece : steps;
        const lf_status status = advance(stream, inputs, first, end, outputs);
        if (status != LF_OK || end == steps)
            return (int)status;
        const int goes_on = go_on(context);
        if (lf_process() != process) /* go_on has forked, and this is the child */
            return LF_ERR_FORKED;
        if (!goes_on)
            return LF_STOPPED;
    }
}

int lf_model_stream_run_in_pieces(lf_stream *stream, const void *const *inputs, size_t steps,
                                  void *const *outputs, lf_go_on go_on, void *context) {
    const size_t bytes = stream->model->plan->state_bytes;
    if (!steps)
        return LF_OK;
    const lf_status status = lf_check_ends(&stream->model->values, inputs, steps, outputs);
    if (status != LF_OK)
        return (int)status;
    char *const before = malloc(bytes);
    if (!before)
        return LF_ERR_MEMORY;
    int result = (int)lf_enter(stream, LF_TO_ADVANCE);
    if (result == LF_OK) {
        memcpy(before, stream->state, bytes);
        result = run_pieces(stream, inputs, steps, outputs, go_on, context);
        if (result != LF_ERR_FORKED) {
            if (result != LF_OK)
                memcpy(stream->state, before, bytes);
            lf_leave(stream);
        }
    }
    free(before);
    return result;
}

lf_status lf_model_stream_reset(lf_stream *stream) {
    const lf_plan *const plan = stream->model->plan;
    const lf_status status = lf_enter(stream, LF_TO_OVERWRITE);
    if (status != LF_OK)
        return status;
    memcpy(stream->state, plan->initial, plan->state_bytes);
    stream->prepared = 0;
    return lf_leave(stream);
}

lf_status lf_model_stream_get(lf_stream *stream, void *const *states) {
    if (!lf_all_are_given((const void *const *)states, stream->model->values.state_count))
        return LF_ERR_ARGUMENT;
    const lf_status status = lf_enter(stream, LF_TO_LOOK);
    if (status != LF_OK)
        return status;
    lf_states_read(stream->model, stream->state, states);
    return lf_leave(stream);
}

lf_status lf_model_stream_set(lf_stream *stream, const void *const *states) {
    if (!lf_all_are_given(states, stream->model->values.state_count))
        return LF_ERR_ARGUMENT;
    const lf_status status = lf_enter(stream, LF_TO_OVERWRITE);
    if (status != LF_OK)
        return status;
    lf_states_write(stream->model, stream->state, states);
    stream->prepared = 0;
    return lf_leave(stream);
}

void lf_model_stream_copy(lf_stream *target, const lf_stream *source) {
    memcpy(target->state, source->state, source->model->plan->state_bytes);
}
