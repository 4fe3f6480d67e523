/* What a model tells its callers of its inputs, outputs and states. */
#ifndef LF_VALUES_H
#define LF_VALUES_H

#include "program.h"

typedef struct lf_values {
    size_t input_count, output_count, state_count;
    lf_value_info *inputs, *outputs, *states;
    void *memory; /* all of it, to be given back with free */
} lf_values;

/* Of a program, histories behind its states; and of a stack of LSTM layers. 0: there is no memory. */
int lf_describe_program(const lf_program *program, lf_values *values);
int lf_describe_lstm(size_t input_size, size_t hidden_size, size_t output_size, size_t num_layers,
                     lf_values *values);

/* Whether none of a caller's addresses is null. */
int lf_all_are_given(const void *const *values, size_t count);

/* The arrays of `steps` values for each input and output: none is null, and no output shares memory with another array. */
lf_status lf_check_ends(const lf_values *values, const void *const *inputs, size_t steps,
                        void *const *outputs);

#endif
