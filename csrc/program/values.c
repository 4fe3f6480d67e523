#include "values.h"

#include <stdlib.h>
#include <string.h>

#include "../layout.h"
#include "../overlap.h"

/* One block: infos, then shapes, then names. The same walk counts first, without memory, and then writes. */
typedef struct writer {
    lf_value_info *info;
    size_t *sizes;
    char *names;
    size_t infos, size_count, name_bytes;
} writer;

static void describe(writer *w, lf_text name, const char *more, lf_kind kind, size_t rank,
                     const size_t *sizes) {
    const size_t length = name.bytes + strlen(more) + 1;
    if (w->info) {
        lf_value_info *const info = &w->info[w->infos];
        size_t *const shape = w->sizes + w->size_count;
        char *const text = w->names + w->name_bytes;
        info->kind = kind;
        info->rank = rank;
        info->bytes = lf_kind_bytes(kind);
        for (size_t axis = 0; axis < rank; axis++) {
            shape[axis] = sizes[axis];
            info->bytes *= sizes[axis];
        }
        memcpy(text, name.characters, name.bytes);
        memcpy(text + name.bytes, more, strlen(more) + 1);
        info->name = text;
        info->shape = shape;
    }
    w->infos++;
    w->size_count += rank;
    w->name_bytes += length;
}

static void describe_shape(writer *w, lf_text name, const char *more, lf_kind kind,
                           const lf_shape *shape) {
    size_t sizes[LF_MAX_RANK];
    for (uint32_t axis = 0; axis < shape->rank; axis++)
        sizes[axis] = shape->sizes[axis];
    describe(w, name, more, kind, shape->rank, sizes);
}

static void walk_program(writer *w, const lf_program *program) {
    const lf_tensor *const tensors = program->tensors;
    for (uint32_t n = 0; n < program->input_count; n++)
        describe_shape(w, program->inputs[n].name, "", tensors[program->inputs[n].tensor].kind,
                       &program->inputs[n].given);
    for (uint32_t n = 0; n < program->output_count; n++) {
        const lf_tensor *const tensor = &tensors[program->outputs[n].tensor];
        describe_shape(w, program->outputs[n].name, "", tensor->kind, &tensor->shape);
    }
    for (uint32_t n = 0; n < program->state_count; n++) {
        const lf_tensor *const tensor = &tensors[program->states[n].tensor];
        describe_shape(w, program->states[n].name, "", tensor->kind, &tensor->shape);
    }
    for (uint32_t n = 0; n < program->input_count; n++) {
        const lf_program_input *const input = &program->inputs[n];
        const lf_tensor *const tensor = &tensors[input->tensor];
        lf_shape kept = tensor->shape;
        if (!input->history)
            continue;
        kept.sizes[kept.rank - 1] = input->history;
        describe_shape(w, input->name, ".history", tensor->kind, &kept);
    }
}

static void walk_lstm(writer *w, const size_t sizes[4]) {
    const lf_text x = {"x", 1}, y = {"y", 1}, h = {"h", 1}, c = {"c", 1};
    const size_t h_shape[2] = {sizes[3], sizes[2]}, c_shape[2] = {sizes[3], sizes[1]};
    describe(w, x, "", LF_KIND_FLOAT32, 1, &sizes[0]);
    describe(w, y, "", LF_KIND_FLOAT32, 1, &sizes[2]);
    describe(w, h, "", LF_KIND_FLOAT32, 2, h_shape);
    describe(w, c, "", LF_KIND_FLOAT32, 2, c_shape);
}

/* Room for all that the first walk has counted; 0: there is none. */
static int make_room(writer *w, lf_values *values) {
    const size_t infos = w->infos * sizeof *w->info, sizes = w->size_count * sizeof *w->sizes;
    char *const memory = malloc(infos + sizes + w->name_bytes);
    values->memory = memory;
    if (!memory)
        return 0;
    *w = (writer){.info = (lf_value_info *)(void *)memory,
                  .sizes = (size_t *)(void *)(memory + infos),
                  .names = memory + infos + sizes};
    values->inputs = w->info;
    values->outputs = values->inputs + values->input_count;
    values->states = values->outputs + values->output_count;
    return 1;
}

int lf_describe_program(const lf_program *program, lf_values *values) {
    writer w = {0};
    walk_program(&w, program);
    values->input_count = program->input_count;
    values->output_count = program->output_count;
    values->state_count = w.infos - values->input_count - values->output_count;
    if (!make_room(&w, values))
        return 0;
    walk_program(&w, program);
    return 1;
}

int lf_describe_lstm(size_t input_size, size_t hidden_size, size_t output_size, size_t num_layers,
                     lf_values *values) {
    const size_t sizes[4] = {input_size, hidden_size, output_size, num_layers};
    writer w = {0};
    walk_lstm(&w, sizes);
    values->input_count = values->output_count = 1;
    values->state_count = 2;
    if (!make_room(&w, values))
        return 0;
    walk_lstm(&w, sizes);
    return 1;
}

int lf_all_are_given(const void *const *values, size_t count) {
    for (size_t n = 0; n < count; n++)
        if (!values[n])
            return 0;
    return 1;
}

lf_status lf_check_ends(const lf_values *values, const void *const *inputs, size_t steps,
                        void *const *outputs) {
    if (!lf_all_are_given(inputs, values->input_count) ||
        !lf_all_are_given((const void *const *)outputs, values->output_count))
        return LF_ERR_ARGUMENT;
    for (size_t n = 0; n < values->output_count; n++) {
        const size_t bytes = steps * values->outputs[n].bytes;
        for (size_t i = 0; i < values->input_count; i++)
            if (lf_overlap(inputs[i], steps * values->inputs[i].bytes, outputs[n], bytes))
                return LF_ERR_OVERLAP;
        for (size_t i = 0; i < n; i++)
            if (lf_overlap(outputs[i], steps * values->outputs[i].bytes, outputs[n], bytes))
                return LF_ERR_OVERLAP;
    }
    return LF_OK;
}
