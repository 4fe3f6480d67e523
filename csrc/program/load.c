/* A model from the bytes of a file. */
#include <stdlib.h>
#include <string.h>

#include "../cpu/cpu.h"
#include "../forks.h"
#include "../model.h"
#include "../snapshot_header.h"
#include "plan.h"

/* Whether its steps can be taken by lf_stream_step_f32. */
static int has_simple_ends(const lf_values *values) {
    return values->input_count == 1 && values->output_count == 1 &&
           values->inputs[0].kind == LF_KIND_FLOAT32 && values->outputs[0].kind == LF_KIND_FLOAT32;
}

static lf_status build(const lf_program *program, const lf_weight_type *types, size_t isa_index,
                       lf_model **result) {
    lf_model *const model = lf_alloc_zeroed(sizeof *model);
    if (!model)
        return LF_ERR_MEMORY;
    model->isa = lf_isa_at(isa_index);
    lf_status status = lf_describe_program(program, &model->values) ? LF_OK : LF_ERR_MEMORY;
    if (status == LF_OK)
        status = lf_plan_create(program, model->isa, types, &model->plan);
    if (status == LF_OK && !lf_make_program_header(model, program, types))
        status = LF_ERR_MEMORY;
    if (status != LF_OK) {
        lf_model_destroy(model);
        return status;
    }
    model->packed_bytes = model->plan->packed_bytes;
    model->step_cost = lf_plan_step_cost(model->plan);
    model->has_simple_ends = has_simple_ends(&model->values);
    if (model->has_simple_ends) {
        model->input_size = model->values.inputs[0].bytes / sizeof(float);
        model->output_size = model->values.outputs[0].bytes / sizeof(float);
    }
    *result = model;
    return LF_OK;
}

lf_status lf_model_load_as(const void *bytes, size_t size, const lf_weight_type *types,
                           size_t count, const char *isa, lf_model **result) {
    size_t index;
    lf_program *program = NULL;
    if (!bytes || !result || (count && !types))
        return LF_ERR_ARGUMENT;
    for (size_t n = 0; n < count; n++)
        if ((unsigned)types[n] >= LF_WEIGHT_TYPES)
            return LF_ERR_ARGUMENT;
    lf_status status = lf_isa_choose(isa, &index);
    if (status == LF_OK && !lf_watch_forks())
        status = LF_ERR_MEMORY;
    if (status == LF_OK)
        status = lf_program_parse(bytes, size, &program);
    if (status == LF_OK)
        status = types && count != program->op_count ? LF_ERR_SHAPE
                                                     : build(program, types, index, result);
    lf_program_destroy(program);
    return status;
}

lf_status lf_model_load(const void *bytes, size_t size, const char *isa, lf_model **model) {
    return lf_model_load_as(bytes, size, NULL, 0, isa, model);
}

size_t lf_model_input_count(const lf_model *model) { return model ? model->values.input_count : 0; }

size_t lf_model_output_count(const lf_model *model) {
    return model ? model->values.output_count : 0;
}

size_t lf_model_state_count(const lf_model *model) { return model ? model->values.state_count : 0; }

const lf_value_info *lf_model_input(const lf_model *model, size_t n) {
    return n < lf_model_input_count(model) ? &model->values.inputs[n] : NULL;
}

const lf_value_info *lf_model_output(const lf_model *model, size_t n) {
    return n < lf_model_output_count(model) ? &model->values.outputs[n] : NULL;
}

const lf_value_info *lf_model_state(const lf_model *model, size_t n) {
    return n < lf_model_state_count(model) ? &model->values.states[n] : NULL;
}
