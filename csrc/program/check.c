/* The checks of lstm_fast/_program_checks.py that look at a program as a whole. */
#include <math.h>
#include <string.h>

#include "check.h"
#include "signatures.h"
#include "tensor.h"

typedef struct check {
    const lf_program *program;
    lf_fact *facts;
} check;

/* ---- constants, looked at once however many operations have them ---- */

static int are_finite(const float *values, size_t count) {
    for (size_t n = 0; n < count; n++)
        if (!isfinite(values[n]))
            return 0;
    return 1;
}

static void find_range(const int64_t *values, size_t count, lf_fact *fact) {
    fact->least = fact->greatest = values[0];
    for (size_t n = 1; n < count; n++) {
        fact->least = values[n] < fact->least ? values[n] : fact->least;
        fact->greatest = values[n] > fact->greatest ? values[n] : fact->greatest;
    }
}

static int are_bools(const unsigned char *values, size_t count) {
    for (size_t n = 0; n < count; n++)
        if (values[n] > 1)
            return 0;
    return 1;
}

static int look_at_constant(const lf_tensor *tensor, lf_fact *fact) {
    fact->is_there = fact->is_finite = 1;
    switch (tensor->kind) {
    case LF_KIND_FLOAT32:
        fact->is_finite = are_finite(tensor->constant, tensor->count);
        return 1;
    case LF_KIND_INT64:
        find_range(tensor->constant, tensor->count, fact);
        return 1;
    case LF_KIND_BOOL:
        return are_bools(tensor->constant, tensor->count);
    }
    return 0;
}

/* ---- what makes a tensor, and what needs one ---- */

static int is_there(const check *c, uint32_t number) {
    return number < c->program->tensor_count && c->facts[number].is_there;
}

/* 0 where there is no such tensor, or it is there already. */
static int make(const check *c, uint32_t number) {
    if (number >= c->program->tensor_count || c->facts[number].is_there)
        return 0;
    c->facts[number].is_there = 1;
    return 1;
}

static int is_same(const lf_tensor *a, const lf_tensor *b) {
    return a->kind == b->kind && lf_is_same_shape(&a->shape, &b->shape);
}

static int check_input(const check *c, const lf_program_input *input) {
    size_t count = 1;
    if (!make(c, input->tensor))
        return 0;
    const lf_tensor *tensor = c->program->tensors + input->tensor;
    const uint32_t rank = tensor->shape.rank;
    const uint32_t last = rank ? tensor->shape.sizes[rank - 1] : 1;
    if (input->history >= last && input->history)
        return 0;
    for (uint32_t axis = 0; axis < input->given.rank; axis++)
        count *= input->given.sizes[axis];
    return count == tensor->count / last * (last - input->history);
}

/* One form: no subnormals, one NaN. */
static int are_canonical(const float *values, size_t count) {
    for (size_t n = 0; n < count; n++) {
        uint32_t bits;
        memcpy(&bits, values + n, sizeof bits);
        const uint32_t exponent = bits >> 23 & 0xFFu, mantissa = bits & 0x7FFFFFu;
        if ((!exponent && mantissa) || (exponent == 0xFF && mantissa && bits != 0x7FC00000u))
            return 0;
    }
    return 1;
}

static int check_state(const check *c, const lf_program_state *state) {
    if (!is_there(c, state->next))
        return 0;
    const lf_tensor *tensor = c->program->tensors + state->tensor;
    return tensor->kind == LF_KIND_FLOAT32 && is_same(tensor, c->program->tensors + state->next) &&
           are_canonical(state->initial, tensor->count);
}

/* ---- operations ---- */

/* Those that make a product NaN for all sessions: FINITE in _program_checks.py. */
static int must_be_finite(const char *name) {
    static const char *const names[] = {"=weight",    "=weight_ih",  "=weight_hh", "=weight_hr?",
                                        "=bias?",     "=bias_ih?",   "=bias_hh?",  "=bias_hr?",
                                        "=peephole?", "=layer_norm?"};
    for (size_t n = 0; n < sizeof names / sizeof *names; n++)
        if (strcmp(name, names[n]) == 0)
            return 1;
    return 0;
}

static int check_constants(const check *c, const lf_op *op) {
    const lf_signature *signature = lf_signature_of(op->code);
    for (uint32_t n = 0; n < op->input_count && n < LF_MAX_INPUTS && signature->inputs[n]; n++) {
        const uint32_t number = op->inputs[n];
        if (number == LF_NO_TENSOR || signature->inputs[n][0] != '=')
            continue;
        if (!c->program->tensors[number].constant ||
            (must_be_finite(signature->inputs[n]) && !c->facts[number].is_finite))
            return 0;
    }
    return 1;
}

/* Those of a gather, which are known to fit otherwise. */
static int are_within(const check *c, const lf_op *op) {
    const lf_tensor *x = c->program->tensors + op->inputs[0];
    const lf_fact *indices = c->facts + op->inputs[1];
    const int64_t size = x->shape.sizes[op->attributes[0].whole];
    return indices->least >= -size && indices->greatest < size;
}

static int check_op(const check *c, const lf_op *op) {
    const lf_tensor *tensors = c->program->tensors;
    lf_tensor outputs[LF_MAX_OUTPUTS];
    if (op->input_count && op->inputs[op->input_count - 1] == LF_NO_TENSOR)
        return 0;
    for (uint32_t n = 0; n < op->input_count; n++)
        if (op->inputs[n] != LF_NO_TENSOR && !is_there(c, op->inputs[n]))
            return 0;
    if (!check_constants(c, op) || lf_infer(op, tensors, outputs) != LF_OK)
        return 0;
    if (op->code == LF_OP_GATHER && !are_within(c, op))
        return 0;
    for (uint32_t n = 0; n < op->output_count; n++)
        if (!make(c, op->outputs[n]) || !is_same(tensors + op->outputs[n], outputs + n))
            return 0;
    return 1;
}

/* ---- all of it ---- */

static int is_small_enough(const lf_program *program) {
    uint64_t total = 0;
    for (uint32_t n = 0; n < program->tensor_count; n++)
        total += program->tensors[n].constant ? 0 : program->tensors[n].count;
    return total <= LF_MAX_SIZE;
}

static int is_program(const check *c) {
    const lf_program *program = c->program;
    int fits = program->input_count && program->output_count && is_small_enough(program);
    for (uint32_t n = 0; fits && n < program->tensor_count; n++)
        if (program->tensors[n].constant)
            fits = look_at_constant(program->tensors + n, c->facts + n);
    for (uint32_t n = 0; fits && n < program->input_count; n++)
        fits = check_input(c, program->inputs + n);
    for (uint32_t n = 0; fits && n < program->state_count; n++)
        fits = make(c, program->states[n].tensor);
    for (uint32_t n = 0; fits && n < program->op_count; n++)
        fits = check_op(c, program->ops + n);
    for (uint32_t n = 0; fits && n < program->output_count; n++)
        fits = is_there(c, program->outputs[n].tensor);
    for (uint32_t n = 0; fits && n < program->state_count; n++)
        fits = check_state(c, program->states + n);
    return fits;
}

lf_status lf_check_program(const lf_program *program, lf_fact *facts) {
    const check c = {program, facts};
    return is_program(&c) ? LF_OK : LF_ERR_PROGRAM;
}
