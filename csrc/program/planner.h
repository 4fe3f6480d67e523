/* Making a plan, op by op; what the files of the planner share. */
#ifndef LF_PLANNER_H
#define LF_PLANNER_H

#include "plan.h"

/* Each step compares where all of them are, and an instruction takes half a kilobyte: files that claim more are refused. */
enum { LF_MAX_ENDS = 4096, LF_MAX_INSTRUCTIONS = 1 << 20 };

/* Memory in scratch, from the first instruction that touches it to the last one. */
typedef struct lf_buffer {
    size_t bytes, offset;
    size_t first, last;
} lf_buffer;

/*
 * What is written into LF_IN_MODEL once its size is known. A constant: count values of `values`. A matrix and its bias:
 * row n of it has weight[first_row + n][channel][first_tap + tap], tap by tap, line by line of the kernel.
 */
typedef enum lf_packing_kind {
    LF_PACK_CONSTANT,
    LF_PACK_MATRIX,
    LF_PACK_FILTERS,
    LF_PACK_LSTM
} lf_packing_kind;

typedef struct lf_packing {
    lf_packing_kind kind;
    size_t offset, bias_offset;
    size_t instruction; /* whose pointers are to be set */
    lf_kind element;
    const void *values;
    size_t count;
    const float *weight, *bias; /* bias: null for zeros */
    size_t first_row, channels;
    size_t kernel[LF_CONV_AXES], first_tap[LF_CONV_AXES], taps[LF_CONV_AXES];
    const lf_op *op;
} lf_packing;

typedef struct lf_planner {
    lf_status status; /* of the first thing that went wrong; nothing happens from then on */
    const lf_program *program;
    const lf_isa *isa;
    const lf_weight_type *types;
    lf_plan *plan;
    lf_view *values;   /* [tensors] */
    char *is_known;    /* [tensors] */
    uint32_t *uses;    /* [tensors]: by operations, outputs and states */
    uint32_t *used_by; /* [tensors]: the last operation that does */
    char *is_done;     /* [ops]: fused into another one */
    lf_buffer *buffers;
    size_t buffer_count, buffer_room;
    lf_packing *packings;
    size_t packing_count, packing_room;
    size_t instruction_room;
    size_t model_bytes;
} lf_planner;

/* planner.c */
void lf_fail(lf_planner *planner, lf_status status);
/* A new buffer, and a place in LF_IN_MODEL. */
lf_place lf_new_buffer(lf_planner *planner, size_t bytes);
lf_place lf_new_model_place(lf_planner *planner, size_t bytes);
lf_packing *lf_new_packing(lf_planner *planner, lf_packing_kind kind);
/* Adds an instruction, whose places are alive until then; the pointer is good until the next one. */
lf_instruction *lf_emit(lf_planner *planner, const lf_instruction *instruction);

/* The value of the nth input of an operation; and a new one, dense in an order of axes, for its nth output. */
lf_view lf_operand_view(lf_planner *planner, const lf_op *op, uint32_t n);
const lf_tensor *lf_operand_tensor(const lf_planner *planner, const lf_op *op, uint32_t n);
int lf_has_operand(const lf_op *op, uint32_t n);
const lf_tensor *lf_result_tensor(const lf_planner *planner, const lf_op *op, uint32_t n);
void lf_set_result(lf_planner *planner, const lf_op *op, uint32_t n, lf_view view);
lf_view lf_new_view(lf_planner *planner, lf_kind kind, const lf_shape *shape,
                    const uint32_t *order);
lf_view lf_new_result(lf_planner *planner, const lf_op *op, uint32_t n, const uint32_t *order);

void lf_emit_plain(lf_planner *planner, const lf_plain *plain, const lf_view *y,
                   const lf_view *const *x, uint32_t count);
/* to = from, which is broadcast to it. */
void lf_emit_copy(lf_planner *planner, const lf_view *to, const lf_view *from);
/* The value itself, or a copy of it that is dense in C's order. */
lf_view lf_dense_operand(lf_planner *planner, lf_view view);

/* What an operation with one input is called with, as an activation has it. */
lf_elementwise lf_elementwise_of(const lf_op *op);
/* The operation with one input that alone uses this op's result, so that a product does it, too; null where there is
 * none. */
const lf_op *lf_take_activation(lf_planner *planner, const lf_op *op);

/* plan_products.c, plan_recurrent.c, plan_elements.c, plan_movement.c */
void lf_plan_dense(lf_planner *planner, const lf_op *op);
void lf_plan_conv(lf_planner *planner, const lf_op *op);
void lf_plan_lstm(lf_planner *planner, const lf_op *op);
void lf_plan_gru(lf_planner *planner, const lf_op *op);
void lf_plan_elementwise(lf_planner *planner, const lf_op *op);
void lf_plan_logic(lf_planner *planner, const lf_op *op);
void lf_plan_along(lf_planner *planner, const lf_op *op);
void lf_plan_movement(lf_planner *planner, const lf_op *op);
/* A product of rows by loops over (y, x): weights as of lf_packing. */
void lf_emit_product(lf_planner *planner, const lf_op *op, const lf_run_product *run, lf_place y,
                     lf_place x, const lf_packing *weights);
lf_weight_type lf_type_of(const lf_planner *planner, const lf_op *op);

/* buffers.c: gives each buffer its offset, and the plan the size of its scratch. */
void lf_place_buffers(lf_planner *planner);

/* packing.c: writes everything into plan->weights. */
lf_status lf_pack_plan(const lf_planner *planner);
/* plan_recurrent.c: an LSTM as lf_model_create takes one, `cell` being where it points; 0 where the core has no such
 * activation. */
int lf_lstm_weights(const lf_planner *planner, const lf_op *op, lf_cell_options *cell,
                    lf_layer_weights *weights);

#endif
