/* What a step costs, so that a long run can be cut into pieces of some milliseconds. */
#include "../tuning.h"
#include "plan.h"

/* In double, which a product of sizes can't leave. */
static double count(const lf_loops *loops) {
    double elements = 1;
    for (uint32_t axis = 0; axis < loops->rank; axis++)
        elements *= loops->sizes[axis];
    return elements;
}

static double multiply_adds_of(const lf_instruction *one) {
    const double each = LF_MULTIPLY_ADDS_AN_ELEMENT;
    const lf_matrix *const matrix = &one->product.product.matrix;
    const lf_depthwise *const filters = &one->depthwise;
    switch (one->kind) {
    case LF_RUN_PRODUCT:
        return (double)one->product.row_count * matrix->rows * matrix->columns;
    case LF_RUN_DEPTHWISE:
        return (double)filters->positions[0] * (double)filters->positions[1] *
               (double)filters->taps[0] * (double)filters->taps[1] * (double)filters->weights_step;
    case LF_RUN_GRU_RESET:
    case LF_RUN_GRU_OUTPUT:
        return each * (double)one->gru.hidden_size;
    case LF_RUN_UNARY:
    case LF_RUN_BINARY:
        return each * count(&one->elementwise.loops);
    case LF_RUN_ALONG:
        return each * count(&one->along.outer) * (double)one->along.inner_count;
    case LF_RUN_PLAIN:
        return each * count(&one->plain.loops) *
               (one->plain.kind == LF_PLAIN_ROWS ? count(&one->plain.inner) : 1);
    case LF_RUN_LSTM: /* it uses each weight once, so its bytes say what it costs */
    case LF_RUN_ZERO: /* quick */
        return 0;
    }
    return 0;
}

size_t lf_plan_step_cost(const lf_plan *plan) {
    double multiply_adds = 0;
    for (size_t n = 0; n < plan->instruction_count; n++)
        multiply_adds += multiply_adds_of(&plan->instructions[n]);
    const double cost =
        multiply_adds * (plan->isa->required ? LF_MULTIPLY_ADD_COSTS : LF_PLAIN_MULTIPLY_ADD_COSTS);
    if (cost > (double)LF_PIECE_BYTES) /* a step is a piece, then */
        return plan->packed_bytes > LF_PIECE_BYTES ? plan->packed_bytes : LF_PIECE_BYTES;
    return cost > (double)plan->packed_bytes ? (size_t)cost : plan->packed_bytes;
}
