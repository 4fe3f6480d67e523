/* How an operation goes through its operands, which may be any views of memory. The planner makes these, kernels follow. */
#ifndef LF_LOOPS_H
#define LF_LOOPS_H

#include "program.h"

enum { LF_MAX_OPERANDS = 4 };

/*
 * Nested loops, the outermost first. strides[n][axis]: how many elements further on operand n is with the next index of
 * an axis; 0 where it is repeated. Operand 0 is the result, which is never repeated. Axes that lie together are one, and
 * none has size 1, so that of dense operands there is one axis with a stride of 1; the rank is 1 or more.
 */
typedef struct lf_loops {
    uint32_t rank;
    uint32_t sizes[LF_MAX_RANK];
    int32_t strides[LF_MAX_OPERANDS][LF_MAX_RANK];
} lf_loops;

/* Of LF_OP_RELU .. LF_OP_PRELU. Operands: the result, x; or the result, a, b. Whatever an operation has not is 0. */
typedef struct lf_elementwise {
    lf_operation_code code;
    float alpha, beta;  /* clip: its min and max */
    int is_approximate; /* gelu: by tanh */
    lf_loops loops;
} lf_elementwise;

typedef enum lf_reduction_kind { LF_MEAN, LF_SUM, LF_MAX, LF_MIN, LF_L2 } lf_reduction_kind;

/*
 * LF_OP_SOFTMAX, LF_OP_LOG_SOFTMAX, LF_OP_LAYER_NORM, LF_OP_REDUCE. outer: the axes that stay; inner: those over which
 * it goes, in their order; operands: the result, x. scale, bias: of the inner axis, dense, or null.
 */
typedef struct lf_along {
    lf_operation_code code;
    lf_reduction_kind kind; /* of LF_OP_REDUCE */
    float epsilon;
    const float *scale, *bias;
    lf_loops outer, inner;
    size_t inner_count; /* of elements */
} lf_along;

#endif
