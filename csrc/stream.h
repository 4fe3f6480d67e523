/* One session from inside. */
#ifndef LF_STREAM_H
#define LF_STREAM_H

#include <stdatomic.h>

#include "pass.h"

struct lf_stream {
    const lf_model *model;
    _Atomic uint32_t inside; /* who is: see stream.c */
    int prepared;            /* `recurrent` holds the second half of the next step's sums */
    lf_engine engine;
    float *x;                /* the frame, padded to whole vectors */
    float *c;                /* [num_layers][padded_hidden] */
    float *h;                /* [num_layers][padded_output]: the state */
    float *h_next;           /* the same; a step writes here and then swaps the two */
    float *recurrent;        /* [num_layers][LF_GATES * padded_hidden] */
    void *quants[LF_HALVES]; /* int8: scratch for an input and for a hidden state */
    float *pre;              /* scratch for variants */
};

#endif
