#include "planner.h"

#include <stdlib.h>
#include <string.h>

void lf_fail(lf_planner *planner, lf_status status) {
    if (planner->status == LF_OK)
        planner->status = status;
}

/* Room for one more; null where there is none. */
static void *grow(void *array, size_t count, size_t *room, size_t bytes) {
    if (count < *room)
        return array;
    const size_t more = *room ? 2 * *room : 16;
    void *const grown = realloc(array, more * bytes);
    if (grown)
        *room = more;
    return grown;
}

lf_place lf_new_buffer(lf_planner *planner, size_t bytes) {
    lf_place place = {.room = LF_IN_SCRATCH, .buffer = (uint32_t)planner->buffer_count};
    lf_buffer *const grown = planner->status == LF_OK
                                 ? grow(planner->buffers, planner->buffer_count,
                                        &planner->buffer_room, sizeof *planner->buffers)
                                 : NULL;
    if (!grown) {
        lf_fail(planner, LF_ERR_MEMORY);
        return place;
    }
    planner->buffers = grown;
    const lf_buffer buffer = {.bytes = lf_round_up(bytes, LF_ALIGNMENT),
                              .first = planner->plan->instruction_count,
                              .last = planner->plan->instruction_count};
    planner->buffers[planner->buffer_count++] = buffer;
    return place;
}

/* Packed weights take sixteen times what a file has of them at most, but thousands of operations may share one. */
static size_t most_model_bytes(const lf_planner *planner) {
    return 64 * planner->program->file_bytes + ((size_t)16 << 20);
}

lf_place lf_new_model_place(lf_planner *planner, size_t bytes) {
    const lf_place place = {.room = LF_IN_MODEL, .offset = (ptrdiff_t)planner->model_bytes};
    const size_t most = most_model_bytes(planner);
    if (bytes > most || planner->model_bytes > most - bytes)
        lf_fail(planner, LF_ERR_SHAPE);
    else
        planner->model_bytes += lf_round_up(bytes, LF_ALIGNMENT);
    return place;
}

lf_packing *lf_new_packing(lf_planner *planner, lf_packing_kind kind) {
    lf_packing *const grown = planner->status == LF_OK
                                  ? grow(planner->packings, planner->packing_count,
                                         &planner->packing_room, sizeof *planner->packings)
                                  : NULL;
    if (!grown) {
        lf_fail(planner, LF_ERR_MEMORY);
        return NULL;
    }
    planner->packings = grown;
    lf_packing *const packing = &planner->packings[planner->packing_count++];
    memset(packing, 0, sizeof *packing);
    packing->kind = kind;
    return packing;
}

static void keep_alive(lf_planner *planner, lf_place place, size_t until) {
    if (place.room == LF_IN_SCRATCH)
        planner->buffers[place.buffer].last = until;
}

lf_instruction *lf_emit(lf_planner *planner, const lf_instruction *instruction) {
    lf_plan *const plan = planner->plan;
    if (plan->instruction_count >= LF_MAX_INSTRUCTIONS)
        lf_fail(planner, LF_ERR_UNSUPPORTED);
    lf_instruction *const grown = planner->status == LF_OK
                                      ? grow(plan->instructions, plan->instruction_count,
                                             &planner->instruction_room, sizeof *instruction)
                                      : NULL;
    if (!grown) {
        lf_fail(planner, LF_ERR_MEMORY);
        return NULL;
    }
    plan->instructions = grown;
    plan->instructions[plan->instruction_count] = *instruction;
    for (uint32_t n = 0; n < instruction->results; n++)
        keep_alive(planner, instruction->y[n], plan->instruction_count);
    for (uint32_t n = 0; n < instruction->places; n++)
        keep_alive(planner, instruction->x[n], plan->instruction_count);
    return &plan->instructions[plan->instruction_count++];
}

int lf_has_operand(const lf_op *op, uint32_t n) {
    return n < op->input_count && op->inputs[n] != LF_NO_TENSOR;
}

const lf_tensor *lf_operand_tensor(const lf_planner *planner, const lf_op *op, uint32_t n) {
    return lf_has_operand(op, n) ? &planner->program->tensors[op->inputs[n]] : NULL;
}

const lf_tensor *lf_result_tensor(const lf_planner *planner, const lf_op *op, uint32_t n) {
    return &planner->program->tensors[op->outputs[n]];
}

/* A constant gets its place when it is first asked for: weights, which are packed, never are. */
static lf_view value_of(lf_planner *planner, uint32_t number) {
    lf_view *const view = &planner->values[number];
    if (planner->is_known[number])
        return *view;
    const lf_tensor *const tensor = &planner->program->tensors[number];
    uint32_t order[LF_MAX_RANK];
    lf_c_order(tensor->shape.rank, order);
    const lf_place at = lf_new_model_place(planner, tensor->count * lf_kind_bytes(tensor->kind));
    *view = lf_dense_view(at, tensor->kind, &tensor->shape, order);
    planner->is_known[number] = 1;
    lf_packing *const packing = lf_new_packing(planner, LF_PACK_CONSTANT);
    if (packing) {
        packing->offset = (size_t)at.offset;
        packing->element = tensor->kind;
        packing->values = tensor->constant;
        packing->count = tensor->count;
    }
    return *view;
}

lf_view lf_operand_view(lf_planner *planner, const lf_op *op, uint32_t n) {
    return value_of(planner, op->inputs[n]);
}

void lf_set_result(lf_planner *planner, const lf_op *op, uint32_t n, lf_view view) {
    planner->values[op->outputs[n]] = view;
    planner->is_known[op->outputs[n]] = 1;
}

lf_view lf_new_view(lf_planner *planner, lf_kind kind, const lf_shape *shape,
                    const uint32_t *order) {
    uint32_t in_c[LF_MAX_RANK];
    lf_c_order(shape->rank, in_c);
    const lf_place at = lf_new_buffer(planner, lf_shape_count(shape) * lf_kind_bytes(kind));
    return lf_dense_view(at, kind, shape, order ? order : in_c);
}

lf_view lf_new_result(lf_planner *planner, const lf_op *op, uint32_t n, const uint32_t *order) {
    const lf_tensor *const tensor = lf_result_tensor(planner, op, n);
    const lf_view view = lf_new_view(planner, tensor->kind, &tensor->shape, order);
    lf_set_result(planner, op, n, view);
    return view;
}

void lf_emit_plain(lf_planner *planner, const lf_plain *plain, const lf_view *y,
                   const lf_view *const *x, uint32_t count) {
    lf_instruction one = {.kind = LF_RUN_PLAIN, .results = 1, .places = count, .plain = *plain};
    one.y[0] = y->at;
    for (uint32_t n = 0; n < count; n++)
        one.x[n] = x[n]->at;
    lf_emit(planner, &one);
}

void lf_emit_copy(lf_planner *planner, const lf_view *to, const lf_view *from) {
    const lf_view *const views[2] = {to, from};
    const lf_plain plain = {.kind = LF_PLAIN_COPY,
                            .element_bytes = lf_kind_bytes(to->kind),
                            .loops = lf_loops_over(views, 2)};
    lf_emit_plain(planner, &plain, to, &from, 1);
}

lf_view lf_dense_operand(lf_planner *planner, lf_view view) {
    if (lf_is_dense(&view))
        return view;
    const lf_view copy = lf_new_view(planner, view.kind, &view.shape, NULL);
    lf_emit_copy(planner, &copy, &view);
    return copy;
}

lf_weight_type lf_type_of(const lf_planner *planner, const lf_op *op) {
    return planner->types ? planner->types[op - planner->program->ops] : LF_FLOAT32;
}

const lf_op *lf_take_activation(lf_planner *planner, const lf_op *op) {
    const uint32_t result = op->outputs[0];
    if (planner->uses[result] != 1 || planner->used_by[result] == LF_NO_TENSOR)
        return NULL;
    const uint32_t number = planner->used_by[result];
    const lf_op *const next = &planner->program->ops[number];
    if (next->code < LF_OP_RELU || next->code > LF_OP_CLIP)
        return NULL;
    planner->is_done[number] = 1;
    return next;
}
