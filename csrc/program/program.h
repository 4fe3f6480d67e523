/*
 * A program as a .lfm file has it (docs/lfm.md), once everything in it has been checked: one step of one session as a
 * list of operations. What each computes stands in lstm_fast/operations.py, whose numbers are those of LF_OP_*.
 */
#ifndef LF_PROGRAM_H
#define LF_PROGRAM_H

#include <stddef.h>
#include <stdint.h>

#include "../lstm_fast.h"

enum { LF_MAX_RANK = 8 };

static inline size_t lf_kind_bytes(lf_kind kind) {
    return kind == LF_KIND_FLOAT32 ? 4 : kind == LF_KIND_INT64 ? 8 : 1;
}

/* F(code, number) for each operation. */
#define LF_EACH_OPERATION(F)                                                                       \
    F(DENSE, 1)                                                                                    \
    F(CONV, 2)                                                                                     \
    F(LSTM, 3)                                                                                     \
    F(GRU, 4)                                                                                      \
    F(CONV2D, 5)                                                                                   \
    F(RELU, 10)                                                                                    \
    F(SIGMOID, 11)                                                                                 \
    F(TANH, 12)                                                                                    \
    F(EXP, 13)                                                                                     \
    F(LOG, 14)                                                                                     \
    F(ABS, 15)                                                                                     \
    F(NEG, 16)                                                                                     \
    F(SQRT, 17)                                                                                    \
    F(RECIPROCAL, 18)                                                                              \
    F(ERF, 19)                                                                                     \
    F(SOFTPLUS, 20)                                                                                \
    F(SOFTSIGN, 21)                                                                                \
    F(HARD_SWISH, 22)                                                                              \
    F(SQUARE, 23)                                                                                  \
    F(HARD_SIGMOID, 24)                                                                            \
    F(ELU, 25)                                                                                     \
    F(LEAKY_RELU, 26)                                                                              \
    F(GELU, 27)                                                                                    \
    F(CLIP, 28)                                                                                    \
    F(ADD, 40)                                                                                     \
    F(SUB, 41)                                                                                     \
    F(MUL, 42)                                                                                     \
    F(DIV, 43)                                                                                     \
    F(MINIMUM, 44)                                                                                 \
    F(MAXIMUM, 45)                                                                                 \
    F(POW, 46)                                                                                     \
    F(PRELU, 47)                                                                                   \
    F(LESS, 50)                                                                                    \
    F(GREATER, 51)                                                                                 \
    F(EQUAL, 52)                                                                                   \
    F(LOGICAL_AND, 53)                                                                             \
    F(LOGICAL_OR, 54)                                                                              \
    F(LOGICAL_NOT, 55)                                                                             \
    F(WHERE, 56)                                                                                   \
    F(SOFTMAX, 60)                                                                                 \
    F(LOG_SOFTMAX, 61)                                                                             \
    F(LAYER_NORM, 62)                                                                              \
    F(REDUCE, 63)                                                                                  \
    F(CONCAT, 70)                                                                                  \
    F(SLICE, 71)                                                                                   \
    F(GATHER, 72)                                                                                  \
    F(EMBEDDING, 73)                                                                               \
    F(TRANSPOSE, 74)                                                                               \
    F(RESHAPE, 75)                                                                                 \
    F(EXPAND, 76)                                                                                  \
    F(PAD, 77)                                                                                     \
    F(CAST, 78)

#define LF_OPERATION_NUMBER(code, number) LF_OP_##code = number,
typedef enum lf_operation_code { LF_EACH_OPERATION(LF_OPERATION_NUMBER) } lf_operation_code;
#undef LF_OPERATION_NUMBER

typedef struct lf_shape {
    uint32_t rank;
    uint32_t sizes[LF_MAX_RANK];
} lf_shape;

typedef struct lf_tensor {
    lf_kind kind;
    lf_shape shape;
    size_t count; /* of its elements */
    const void
        *constant; /* its elements in C's order, aligned to 64 bytes; null where it is none */
} lf_tensor;

/* UTF-8, without a NUL at its end. */
typedef struct lf_text {
    const char *characters;
    size_t bytes;
} lf_text;

typedef struct lf_program_input {
    lf_text name;
    uint32_t tensor, history;
    lf_shape given; /* the shape of what a caller gives */
} lf_program_input;

typedef struct lf_program_output {
    lf_text name;
    uint32_t tensor;
} lf_program_output;

typedef struct lf_program_state {
    lf_text name;
    uint32_t tensor, next;
    const float *initial; /* of the tensor's shape, canonical, aligned to 64 bytes */
} lf_program_state;

/* One attribute of an operation: ints are in `several`, a float in `real`, anything else in `whole`. */
typedef struct lf_attribute {
    int32_t whole;
    float real;
    const int32_t *several;
    uint32_t count;
} lf_attribute;

#define LF_NO_TENSOR UINT32_MAX /* an input that is left out */

/* inputs: those that are left out at the end are not counted. attributes: in the order of docs/lfm.md. */
typedef struct lf_op {
    lf_operation_code code;
    uint32_t input_count, output_count;
    const uint32_t *inputs, *outputs;
    const lf_attribute *attributes;
    lf_text source;
} lf_op;

typedef struct lf_program {
    uint32_t tensor_count, input_count, output_count, state_count, op_count;
    const lf_tensor *tensors;
    const lf_program_input *inputs;
    const lf_program_output *outputs;
    const lf_program_state *states;
    const lf_op *ops;
    unsigned char fingerprint[LF_FINGERPRINT_BYTES]; /* the checksum of the file */
    size_t file_bytes;
} lf_program;

/*
 * parse.c: the program in `size` bytes, which are not trusted, at any alignment; all that it points to is its own.
 * LF_ERR_PROGRAM where they are no such file in every byte; LF_ERR_VERSION where the version or an operation is
 * unknown here; LF_ERR_MEMORY.
 */
lf_status lf_program_parse(const void *bytes, size_t size, lf_program **program);
void lf_program_destroy(lf_program *program);

/* shapes.c: whether the operation's inputs and attributes fit, and then what its outputs are: outputs[op->output_count]
 * tensors of which kind, shape and count are set. */
lf_status lf_infer(const lf_op *op, const lf_tensor *tensors, lf_tensor *outputs);

#endif
