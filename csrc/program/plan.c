/* From a program to a plan: inputs and states first, then each operation, then outputs, and where buffers lie. */
#include "plan.h"

#include <stdlib.h>
#include <string.h>

#include "../cpu/cpu.h"
#include "../tuning.h"
#include "planner.h"

enum { STAYS_ALIVE = 1 }; /* behind the last instruction */

static void *array_of(lf_planner *planner, size_t count, size_t bytes) {
    void *const array = calloc(count ? count : 1, bytes);
    if (!array)
        lf_fail(planner, LF_ERR_MEMORY);
    return array;
}

static void count_use(lf_planner *planner, uint32_t tensor, uint32_t by) {
    if (tensor == LF_NO_TENSOR)
        return;
    planner->uses[tensor]++;
    planner->used_by[tensor] = by;
}

static void count_uses(lf_planner *planner) {
    const lf_program *const program = planner->program;
    for (uint32_t n = 0; n < program->op_count; n++)
        for (uint32_t i = 0; i < program->ops[n].input_count; i++)
            count_use(planner, program->ops[n].inputs[i], n);
    for (uint32_t n = 0; n < program->output_count; n++)
        count_use(planner, program->outputs[n].tensor, LF_NO_TENSOR);
    for (uint32_t n = 0; n < program->state_count; n++)
        count_use(planner, program->states[n].next, LF_NO_TENSOR);
}

/* ---- what a step begins with ---- */

static void plan_input(lf_planner *planner, uint32_t n, size_t *state) {
    const lf_program_input *const input = &planner->program->inputs[n];
    const lf_tensor *const tensor = &planner->program->tensors[input->tensor];
    lf_plan *const plan = planner->plan;
    lf_plan_input *const take = &plan->takes[n];
    const lf_view view = lf_new_view(planner, tensor->kind, &tensor->shape, NULL);
    planner->values[input->tensor] = view;
    planner->is_known[input->tensor] = 1;
    take->at = view.at;
    take->kind = tensor->kind;
    const uint32_t rank = tensor->shape.rank;
    take->rows = 1;
    take->row_count = tensor->count;
    take->bytes = lf_shape_count(&input->given) * lf_kind_bytes(tensor->kind);
    if (!input->history)
        return;
    take->rows = tensor->count / tensor->shape.sizes[rank - 1];
    take->row_count = tensor->shape.sizes[rank - 1] - input->history;
    take->history_count = input->history;
    take->history.room = LF_IN_STATE;
    take->history.offset = (ptrdiff_t)*state;
    plan->state_offsets[plan->state_count++] = *state;
    *state +=
        lf_round_up(take->rows * take->history_count * lf_kind_bytes(tensor->kind), LF_ALIGNMENT);
}

static void plan_states(lf_planner *planner) {
    const lf_program *const program = planner->program;
    lf_plan *const plan = planner->plan;
    size_t offset = 0;
    for (uint32_t n = 0; n < program->state_count; n++) {
        const lf_program_state *const state = &program->states[n];
        const lf_tensor *const tensor = &program->tensors[state->tensor];
        uint32_t order[LF_MAX_RANK];
        lf_c_order(tensor->shape.rank, order);
        const lf_place at = {.room = LF_IN_STATE, .offset = (ptrdiff_t)offset};
        planner->values[state->tensor] = lf_dense_view(at, tensor->kind, &tensor->shape, order);
        planner->is_known[state->tensor] = 1;
        plan->state_offsets[plan->state_count++] = offset;
        offset += lf_round_up(tensor->count * sizeof(float), LF_ALIGNMENT);
    }
    plan->own_states = plan->state_count;
    for (uint32_t n = 0; n < program->input_count; n++)
        plan_input(planner, n, &offset);
    plan->state_bytes = lf_round_up(offset ? offset : 1, LF_ALIGNMENT);
    plan->initial = planner->status == LF_OK ? lf_alloc_zeroed(plan->state_bytes) : NULL;
    if (!plan->initial) {
        lf_fail(planner, LF_ERR_MEMORY);
        return;
    }
    for (uint32_t n = 0; n < program->state_count; n++)
        memcpy(plan->initial + plan->state_offsets[n], program->states[n].initial,
               program->tensors[program->states[n].tensor].count * sizeof(float));
}

/* ---- the operations ---- */

static void plan_op(lf_planner *planner, const lf_op *op) {
    switch (op->code) {
    case LF_OP_DENSE:
        lf_plan_dense(planner, op);
        return;
    case LF_OP_CONV:
    case LF_OP_CONV2D:
        lf_plan_conv(planner, op);
        return;
    case LF_OP_LSTM:
        lf_plan_lstm(planner, op);
        return;
    case LF_OP_GRU:
        lf_plan_gru(planner, op);
        return;
    case LF_OP_SOFTMAX:
    case LF_OP_LOG_SOFTMAX:
    case LF_OP_LAYER_NORM:
    case LF_OP_REDUCE:
        lf_plan_along(planner, op);
        return;
    case LF_OP_LESS:
    case LF_OP_GREATER:
    case LF_OP_EQUAL:
    case LF_OP_LOGICAL_AND:
    case LF_OP_LOGICAL_OR:
    case LF_OP_LOGICAL_NOT:
    case LF_OP_WHERE:
    case LF_OP_CAST:
        lf_plan_logic(planner, op);
        return;
    case LF_OP_CONCAT:
    case LF_OP_SLICE:
    case LF_OP_GATHER:
    case LF_OP_EMBEDDING:
    case LF_OP_TRANSPOSE:
    case LF_OP_RESHAPE:
    case LF_OP_EXPAND:
    case LF_OP_PAD:
        lf_plan_movement(planner, op);
        return;
    default: /* element by element, of which there are many */
        lf_plan_elementwise(planner, op);
        return;
    }
}

/* ---- what a step ends with ---- */

static lf_view final_value(lf_planner *planner, uint32_t tensor) {
    const lf_op whole = {.input_count = 1, .inputs = &tensor};
    return lf_operand_view(planner, &whole, 0);
}

/* `to` is dense in C's order. What is to be alive in the end is marked later, when no instruction follows. */
static lf_plan_copy final_copy(lf_view from, lf_place to) {
    uint32_t order[LF_MAX_RANK];
    lf_c_order(from.shape.rank, order);
    const lf_view target = lf_dense_view(to, from.kind, &from.shape, order);
    const lf_view *const views[2] = {&target, &from};
    const size_t element = lf_kind_bytes(from.kind);
    const lf_plan_copy copy = {from.at, to, lf_loops_over(views, 2), element,
                               lf_shape_count(&from.shape) * element};
    return copy;
}

static void plan_end(lf_planner *planner) {
    const lf_program *const program = planner->program;
    lf_plan *const plan = planner->plan;
    for (uint32_t n = 0; n < program->state_count; n++) {
        lf_view view = final_value(planner, program->states[n].next);
        if (view.at.room == LF_IN_STATE) { /* of another state, say, which is overwritten, too */
            const lf_view copy = lf_new_view(planner, view.kind, &view.shape, NULL);
            lf_emit_copy(planner, &copy, &view);
            view = copy;
        }
        const lf_place to = {.room = LF_IN_STATE, .offset = (ptrdiff_t)plan->state_offsets[n]};
        plan->keeps[n] = final_copy(view, to);
    }
    for (uint32_t n = 0; n < program->output_count; n++) {
        const lf_place nowhere = {.room = LF_IN_STATE};
        plan->gives[n] = final_copy(final_value(planner, program->outputs[n].tensor), nowhere);
    }
}

static void stay_alive(lf_planner *planner, lf_place place) {
    if (place.room == LF_IN_SCRATCH && planner->status == LF_OK)
        planner->buffers[place.buffer].last = planner->plan->instruction_count + STAYS_ALIVE;
}

static void keep_ends_alive(lf_planner *planner) {
    const lf_plan *const plan = planner->plan;
    for (size_t n = 0; n < plan->own_states; n++)
        stay_alive(planner, plan->keeps[n].from);
    for (size_t n = 0; n < plan->output_count; n++)
        stay_alive(planner, plan->gives[n].from);
    for (size_t n = 0; n < plan->input_count; n++)
        if (plan->takes[n].history_count)
            stay_alive(planner, plan->takes[n].at);
}

/* ---- where buffers lie ---- */

static void settle(const lf_planner *planner, lf_place *place) {
    if (place->room == LF_IN_SCRATCH) {
        place->offset += (ptrdiff_t)planner->buffers[place->buffer].offset;
        place->buffer = 0;
    }
}

static void settle_all(lf_planner *planner) {
    lf_plan *const plan = planner->plan;
    for (size_t n = 0; n < plan->instruction_count; n++) {
        lf_instruction *const one = &plan->instructions[n];
        for (uint32_t i = 0; i < one->results; i++)
            settle(planner, &one->y[i]);
        for (uint32_t i = 0; i < one->places; i++)
            settle(planner, &one->x[i]);
    }
    for (size_t n = 0; n < plan->input_count; n++)
        settle(planner, &plan->takes[n].at);
    for (size_t n = 0; n < plan->own_states; n++)
        settle(planner, &plan->keeps[n].from);
    for (size_t n = 0; n < plan->output_count; n++)
        settle(planner, &plan->gives[n].from);
}

/* ---- all of it ---- */

static size_t sessions_a_pass(const lf_plan *plan) {
    const size_t sessions = lf_cpu_l2_bytes() / LF_INTERMEDIATES_PART_OF_L2 / plan->scratch_bytes;
    return sessions < 1 ? 1 : sessions > LF_BATCH_SESSIONS ? LF_BATCH_SESSIONS : sessions;
}

static void make(lf_planner *planner) {
    const lf_program *const program = planner->program;
    lf_plan *const plan = planner->plan;
    count_uses(planner);
    plan_states(planner);
    for (uint32_t n = 0; planner->status == LF_OK && n < program->op_count; n++)
        if (!planner->is_done[n])
            plan_op(planner, &program->ops[n]);
    if (planner->status == LF_OK)
        plan_end(planner);
    if (planner->status != LF_OK)
        return;
    keep_ends_alive(planner);
    lf_place_buffers(planner);
    if (planner->status != LF_OK)
        return;
    settle_all(planner);
    plan->packed_bytes = planner->model_bytes ? planner->model_bytes : LF_ALIGNMENT;
    plan->fits_l2 = plan->packed_bytes <= lf_cpu_l2_bytes() / 4 * LF_L2_FITS_QUARTERS;
    if (!plan->fits_l2 && plan->has_lstm)
        plan->hot_gap = LF_CACHES_KEEP_TICKS + plan->packed_bytes / LF_BYTES_A_TICK;
    plan->weights = lf_alloc_weights(plan->packed_bytes, plan->fits_l2, &plan->block);
    lf_fail(planner, plan->weights ? lf_pack_plan(planner) : LF_ERR_MEMORY);
    plan->sessions_a_pass = sessions_a_pass(plan);
}

lf_status lf_plan_create(const lf_program *program, const lf_isa *isa, const lf_weight_type *types,
                         lf_plan **result) {
    if ((size_t)program->input_count + program->output_count > LF_MAX_ENDS)
        return LF_ERR_UNSUPPORTED;
    lf_plan *const plan = calloc(1, sizeof *plan);
    if (!plan)
        return LF_ERR_MEMORY;
    lf_planner planner = {.program = program, .isa = isa, .types = types, .plan = plan};
    plan->isa = isa;
    plan->input_count = program->input_count;
    plan->output_count = program->output_count;
    plan->takes = array_of(&planner, program->input_count, sizeof *plan->takes);
    plan->gives = array_of(&planner, program->output_count, sizeof *plan->gives);
    plan->keeps = array_of(&planner, program->state_count, sizeof *plan->keeps);
    plan->state_offsets = array_of(&planner, program->state_count + program->input_count,
                                   sizeof *plan->state_offsets);
    planner.values = array_of(&planner, program->tensor_count, sizeof *planner.values);
    planner.is_known = array_of(&planner, program->tensor_count, 1);
    planner.uses = array_of(&planner, program->tensor_count, sizeof *planner.uses);
    planner.used_by = array_of(&planner, program->tensor_count, sizeof *planner.used_by);
    planner.is_done = array_of(&planner, program->op_count, 1);
    if (planner.status == LF_OK)
        make(&planner);
    free(planner.values);
    free(planner.is_known);
    free(planner.uses);
    free(planner.used_by);
    free(planner.is_done);
    free(planner.buffers);
    free(planner.packings);
    if (planner.status != LF_OK) {
        lf_plan_destroy(plan);
        return planner.status;
    }
    *result = plan;
    return LF_OK;
}

void lf_plan_destroy(lf_plan *plan) {
    if (!plan)
        return;
    for (size_t n = 0; n < plan->instruction_count; n++)
        if (plan->instructions[n].kind == LF_RUN_LSTM)
            lf_free(plan->instructions[n].lstm.layer);
    lf_free_weights(&plan->block);
    free(plan->takes);
    free(plan->gives);
    free(plan->keeps);
    free(plan->state_offsets);
    lf_free(plan->initial);
    free(plan->instructions);
    free(plan);
}
