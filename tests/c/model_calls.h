/* What calls on whole models take and give, for tests: a model of a file, and arrays for any of its ends. */
#ifndef MODEL_CALLS_H
#define MODEL_CALLS_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lstm_fast.h"
#include "pseudo_random.h"

enum { ENDS = 8 };

/* So many values of each input and output. */
typedef struct values {
    const lf_model *model;
    size_t count, input_count, output_count, index_input;
    size_t input_bytes[ENDS], output_bytes[ENDS];
    void *inputs_memory[ENDS], *outputs[ENDS];
    const void *inputs[ENDS];
} values;

static inline lf_model *read_model(const char *path, const char *isa) {
    static char bytes[1 << 20];
    lf_model *model = NULL;
    FILE *const file = fopen(path, "rb");
    const size_t size = file ? fread(bytes, 1, sizeof bytes, file) : 0;
    if (file)
        fclose(file);
    return lf_model_load(bytes, size, isa, &model) == LF_OK ? model : NULL;
}

static inline values make_values(const lf_model *model, size_t count) {
    values v = {.model = model,
                .count = count,
                .input_count = lf_model_input_count(model),
                .output_count = lf_model_output_count(model)};
    for (size_t n = 0; n < v.input_count; n++) {
        v.input_bytes[n] = lf_model_input(model, n)->bytes;
        v.inputs[n] = v.inputs_memory[n] = calloc(count, v.input_bytes[n]);
        if (lf_model_input(model, n)->kind == LF_KIND_INT64)
            v.index_input = n;
    }
    for (size_t n = 0; n < v.output_count; n++) {
        v.output_bytes[n] = lf_model_output(model, n)->bytes;
        v.outputs[n] = malloc(count * v.output_bytes[n]);
        memset(v.outputs[n], 0x55, count * v.output_bytes[n]);
    }
    return v;
}

static inline void free_values(values *v) {
    for (size_t n = 0; n < v->input_count; n++)
        free(v->inputs_memory[n]);
    for (size_t n = 0; n < v->output_count; n++)
        free(v->outputs[n]);
}

/* Floats, and indices of a table of five rows. */
static inline void fill(values *v, uint32_t *state) {
    for (size_t n = 0; n < v->input_count; n++) {
        const size_t bytes = v->count * v->input_bytes[n];
        const int is_float = lf_model_input(v->model, n)->kind == LF_KIND_FLOAT32;
        float *const floats = v->inputs_memory[n];
        int64_t *const indices = v->inputs_memory[n];
        for (size_t j = 0; is_float && j < bytes / sizeof *floats; j++)
            floats[j] = 2 * pseudo_random(state);
        for (size_t j = 0; !is_float && j < bytes / sizeof *indices; j++)
            indices[j] = (int64_t)(5 * (double)pseudo_random(state));
    }
}

/* The first ones are those of `from` from `at` on. */
static inline void copy_inputs(values *to, const values *from, size_t at, size_t count) {
    for (size_t n = 0; n < from->input_count; n++)
        memcpy(to->inputs_memory[n], (const char *)from->inputs[n] + at * from->input_bytes[n],
               count * from->input_bytes[n]);
}

static inline void make_states(const lf_model *model, void **states) {
    for (size_t n = 0; n < lf_model_state_count(model); n++)
        states[n] = malloc(lf_model_state(model, n)->bytes);
}

static inline void free_states(const lf_model *model, void **states) {
    for (size_t n = 0; n < lf_model_state_count(model); n++)
        free(states[n]);
}

static inline int is_zero(const void *memory, size_t bytes) {
    const char *const at = memory;
    for (size_t j = 0; j < bytes; j++)
        if (at[j])
            return 0;
    return 1;
}

#endif
