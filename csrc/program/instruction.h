/* What a planned step consists of: one kernel call each, or one for each session. */
#ifndef LF_INSTRUCTION_H
#define LF_INSTRUCTION_H

#include "../kernel.h"
#include "plain.h"
#include "products.h"
#include "view.h"

typedef enum lf_instruction_kind {
    LF_RUN_PRODUCT,
    LF_RUN_DEPTHWISE,
    LF_RUN_LSTM,
    LF_RUN_GRU_RESET,
    LF_RUN_GRU_OUTPUT,
    LF_RUN_UNARY,
    LF_RUN_BINARY,
    LF_RUN_ALONG,
    LF_RUN_ZERO,
    LF_RUN_PLAIN
} lf_instruction_kind;

/*
 * Rows of input are found by loops over (y, x); each has `segments` parts, segment_step bytes apart, and between the
 * last one of a line and the first one of the next another line_step. line_segments: of a line; 0 where there is one.
 */
typedef struct lf_run_product {
    lf_product product;
    lf_loops rows;
    size_t row_count, segments, segment_count, line_segments;
    ptrdiff_t segment_step, line_step;
} lf_run_product;

/* x: the operands x, h and c; scratch for x; for h where it is one session, for o where they are more; for the quantised
 * x and h; and for a variant, as lf_pass.pre. y: h and c, in whole vectors. */
typedef struct lf_run_lstm {
    lf_layer *layer; /* and behind it there is room for its variant */
    lf_weight_type type;
    size_t quant_bytes; /* of one of the two */
} lf_run_lstm;

typedef struct lf_run_gru {
    size_t hidden_size;
    int is_linear;
} lf_run_gru;

enum { LF_MAX_RESULTS = 2, LF_MAX_PLACES = 8 };

/*
 * y: where results are; x: operands, and scratch that nothing else needs. can_prepare: what a recurrent operation
 * makes of h alone can be there before a step, since h is a state (lf_run_prepare). h_copied_ahead: so many instructions
 * before, h is copied from the state; 0: it lies there as it is.
 */
typedef struct lf_instruction {
    lf_instruction_kind kind;
    int can_prepare;
    size_t kept; /* where that is in a session's prepared halves, in bytes */
    size_t h_copied_ahead;
    uint32_t results, places;
    lf_place y[LF_MAX_RESULTS], x[LF_MAX_PLACES];
    union {
        lf_run_product product;
        lf_depthwise depthwise;
        lf_run_lstm lstm;
        lf_run_gru gru;
        lf_elementwise elementwise;
        lf_along along;
        size_t zero_bytes;
        lf_plain plain;
    };
} lf_instruction;

#endif
