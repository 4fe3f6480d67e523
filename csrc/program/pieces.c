/* Long runs of a whole model in pieces: what stream.c does for an LSTM. */
#include "../pieces.h"

#include <stdlib.h>
#include <string.h>

#include "../stream.h"
#include "plan.h"

/* Takes the steps; what is not LF_OK leaves the state to be put back. Whoever calls is inside the stream. */
static int run_pieces(lf_stream *stream, const void *const *inputs, size_t steps,
                      void *const *outputs, lf_go_on go_on, void *context) {
    const size_t piece = lf_piece_steps(stream->model, 1);
    const uint32_t process = lf_process();
    for (size_t t = 0; t < steps; t++) {
        if (t && t % piece == 0) {
            const int goes_on = go_on(context);
            if (lf_process() != process) /* go_on has forked, and this is the child */
                return goes_on ? LF_ERR_FORKED : LF_STOPPED;
            if (!goes_on)
                return LF_STOPPED;
        }
        const lf_status status = lf_run_step(stream->model->plan, stream->run_memory, 1,
                                             &stream->state, &t, inputs, outputs);
        if (status != LF_OK)
            return (int)status;
    }
    return LF_OK;
}

int lf_stream_run_values_in_pieces(lf_stream *stream, const void *const *inputs, size_t steps,
                                   void *const *outputs, lf_go_on go_on, void *context) {
    if (!stream || !inputs || !outputs)
        return LF_ERR_ARGUMENT;
    if (!stream->state)
        return lf_stream_run_in_pieces(stream, inputs[0], steps, outputs[0], go_on, context);
    const lf_status status = lf_check_ends(&stream->model->values, inputs, steps, outputs);
    if (status != LF_OK || !steps)
        return (int)status;
    const size_t bytes = stream->model->plan->state_bytes;
    char *const before = malloc(bytes + !bytes);
    if (!before)
        return LF_ERR_MEMORY;
    int result = (int)lf_stream_enter(stream, LF_STREAM_ADVANCES);
    if (result == LF_OK) {
        const uint32_t process = lf_process();
        memcpy(before, stream->state, bytes);
        result = run_pieces(stream, inputs, steps, outputs, go_on, context);
        if (lf_process() == process) { /* else the stream stays torn, as in any other child */
            if (result != LF_OK)
                memcpy(stream->state, before, bytes);
            lf_stream_leave(stream);
        }
    }
    free(before);
    return result;
}
