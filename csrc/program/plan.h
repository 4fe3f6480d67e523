/*
 * A program as it runs: where each value lies, packed weights, and a list of instructions. Immutable, and shared by all
 * streams and pools of a model.
 */
#ifndef LF_PLAN_H
#define LF_PLAN_H

#include "../memory/memory.h"
#include "instruction.h"

/* An input. Its values are taken to a buffer in scratch, those of its history before them. */
typedef struct lf_plan_input {
    lf_place at;            /* the buffer */
    lf_place history;       /* in the state, where there is one */
    size_t history_count;   /* of elements of the last axis */
    size_t rows, row_count; /* the tensor: [rows][history_count + row_count] */
    size_t bytes;           /* of what a caller gives */
    lf_kind kind;
} lf_plan_input;

/* What is copied at the end of a step; to: of states alone. */
typedef struct lf_plan_copy {
    lf_place from, to;
    lf_loops loops;
    size_t element_bytes, bytes;
} lf_plan_copy;

typedef struct lf_plan {
    const lf_isa *isa;
    size_t scratch_bytes, state_bytes; /* of a session, multiples of LF_ALIGNMENT */
    size_t input_count, output_count;
    size_t state_count, own_states; /* behind those of the program are the histories of inputs */
    lf_plan_input *takes;           /* [input_count] */
    lf_plan_copy *gives;            /* [output_count]: results, to the caller in C's order */
    lf_plan_copy *keeps;            /* [own_states]: to the state */
    size_t *state_offsets;          /* [state_count], in bytes */
    char *initial;                  /* [state_bytes] */
    size_t instruction_count;
    lf_instruction *instructions;
    char *weights; /* LF_IN_MODEL */
    size_t packed_bytes;
    int fits_l2;            /* and leaves room for anything else */
    uint64_t hot_gap;       /* see traversal.h; 0 where they fit */
    lf_block block;         /* in which they are */
    int can_fail;           /* it looks up an index */
    size_t sessions_a_pass; /* so many that what lies between instructions stays in L2 */
    size_t most_segments;   /* of any product */
    int has_lstm;
    size_t kept_bytes; /* of a session's prepared halves; 0: there are none */
} lf_plan;

/* types: [count] by operation, or null: float32. */
lf_status lf_plan_create(const lf_program *program, const lf_isa *isa, const lf_weight_type *types,
                         lf_plan **plan);
void lf_plan_destroy(lf_plan *plan);

/* costs.c. As lf_model.step_cost. */
size_t lf_plan_step_cost(const lf_plan *plan);

enum { LF_RUN_ROWS = 8 }; /* arrays of rows that an LSTM's pass over several sessions takes */

/* run.c. The memory, aligned to LF_ALIGNMENT, that running `sessions` at once takes. */
size_t lf_run_bytes(const lf_plan *plan, size_t sessions);

/*
 * One step of so many sessions, at most as many as the memory is for. states[s]: of session s, whose values are the
 * at[s]th ones in inputs[n] and outputs[n]. On anything but LF_OK no state has changed, and *bad is one of the sessions
 * for which it cannot be taken. kept[s]: what lf_run_prepare has made of the state of session s, or kept is null.
 */
lf_status lf_run_step(const lf_plan *plan, void *memory, size_t sessions, char *const *states,
                      char *const *kept, const size_t *at, const void *const *inputs,
                      void *const *outputs, size_t *bad);

/* What the next step of each can do before its frame is known: the recurrent halves, [kept_bytes] each, aligned. */
void lf_run_prepare(const lf_plan *plan, void *memory, size_t sessions, char *const *states,
                    char *const *kept);

/* states.c: between the state of a session and a caller's values, one for each state. */
void lf_states_read(const lf_model *model, const char *state, void *const *states);
void lf_states_write(const lf_model *model, char *state, const void *const *states);
/* The same with all values one behind the other, at any alignment. */
void lf_states_pack(const lf_model *model, const char *state, char *bytes);
void lf_states_unpack(const lf_model *model, char *state, const char *bytes);

#endif
