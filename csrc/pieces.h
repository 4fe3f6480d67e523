/*
 * Long runs for callers that have to look up now and then, as Python does for signals. After each piece but
 * the last go_on(context) is called; where it returns 0, everything is as it was before the call, and the result
 * is LF_STOPPED. The sessions are in use all the time.
 */
#ifndef LF_PIECES_H
#define LF_PIECES_H

#include "model.h"
#include "tuning.h"

enum { LF_STOPPED = -1 };
typedef int (*lf_go_on)(void *context);

int lf_stream_run_in_pieces(lf_stream *stream, const float *xs, size_t steps, float *ys,
                            lf_go_on go_on, void *context);

/* As lf_pool_run_f32. */
int lf_pool_run_in_pieces(lf_pool *pool, const unsigned long long *handles, size_t count,
                          size_t steps, const size_t *lengths, const float *xs, float *ys,
                          size_t *bad, lf_go_on go_on, void *context);

/* The same for any model, as lf_stream_run and lf_pool_run. */
int lf_stream_run_values_in_pieces(lf_stream *stream, const void *const *inputs, size_t steps,
                                   void *const *outputs, lf_go_on go_on, void *context);
int lf_pool_run_values_in_pieces(lf_pool *pool, const unsigned long long *handles, size_t count,
                                 size_t steps, const size_t *lengths, const void *const *inputs,
                                 void *const *outputs, size_t *bad, lf_go_on go_on, void *context);

/* The steps of one piece, for count sessions at a time: at least 1, and some 5 to 20 ms. */
static inline size_t lf_piece_steps(const lf_model *model, size_t count) {
    const size_t bytes = model->isa->required ? LF_PIECE_BYTES : LF_PLAIN_PIECE_BYTES;
    const size_t each = bytes / (model->step_cost + LF_LEAST_STEP_BYTES);
    return count && each > count ? each / count : 1;
}

#endif
