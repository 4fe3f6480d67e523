/* One session from inside. */
#ifndef LF_STREAM_H
#define LF_STREAM_H

#include <stdatomic.h>

#include "forks.h"
#include "pass.h"
#include "pieces.h"

struct lf_stream {
    const lf_model *model;
    _Atomic uint32_t inside; /* who is: see enter.c */
    int prepared;            /* `recurrent` holds the second half of the next step's sums */
    lf_engine engine;
    float *x;                /* the frame, padded to whole vectors */
    float *c;                /* [num_layers][padded_hidden] */
    float *h;                /* [num_layers][padded_output]: the state */
    float *h_next;           /* the same; a step writes here and then swaps the two */
    float *recurrent;        /* [num_layers][LF_GATES * padded_hidden]; or as a plan has it */
    void *quants[LF_HALVES]; /* int8: scratch for an input and for a hidden state */
    float *pre;              /* scratch for variants */
    /* of a whole model; null where it is an LSTM: */
    char *state;  /* as its plan has it */
    char *before; /* what it was before a run that may fail; null where none can */
    void *run_memory;
};

/*
 * stream->inside is 0 where nobody is, or LF_STREAM_TORN, or twice the process of who is, plus 1 where they leave the state
 * as it is. A number of another process was left by a thread that a fork did not take along.
 */
enum { LF_STREAM_TORN = 1 };

typedef enum lf_purpose { LF_TO_LOOK, LF_TO_ADVANCE, LF_TO_OVERWRITE } lf_purpose;

static inline uint32_t lf_mark_of(lf_purpose what) {
    return 2 * lf_process() + (what == LF_TO_LOOK);
}

/* enter.c: where h and h_next are, and so before the first step; and entering, where who is found inside decides. */
void lf_place_h(lf_stream *stream);
lf_status lf_enter_found(lf_stream *stream, lf_purpose what, uint32_t found);

/* Detects a second caller; a lock would make it wait instead, and hide the mistake. */
static inline lf_status lf_enter(lf_stream *stream, lf_purpose what) {
    uint32_t found = 0;
    if (atomic_compare_exchange_strong_explicit(&stream->inside, &found, lf_mark_of(what),
                                                memory_order_acquire, memory_order_relaxed))
        return LF_OK;
    return lf_enter_found(stream, what, found);
}

static inline lf_status lf_leave(lf_stream *stream) {
    atomic_store_explicit(&stream->inside, 0, memory_order_release);
    return LF_OK;
}

/* program/stream.c: the same calls for a whole model. */
lf_status lf_model_stream_create(const lf_model *model, lf_stream **stream);
lf_status lf_model_stream_run(lf_stream *stream, const void *const *inputs, size_t steps,
                              void *const *outputs);
int lf_model_stream_run_in_pieces(lf_stream *stream, const void *const *inputs, size_t steps,
                                  void *const *outputs, lf_go_on go_on, void *context);
lf_status lf_model_stream_prepare(lf_stream *stream);
lf_status lf_model_stream_reset(lf_stream *stream);
lf_status lf_model_stream_get(lf_stream *stream, void *const *states);
lf_status lf_model_stream_set(lf_stream *stream, const void *const *states);
void lf_model_stream_copy(lf_stream *target, const lf_stream *source);

#endif
