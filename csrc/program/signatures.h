/* What each operation takes, by its number: the table of lstm_fast/operations.py as data. */
#ifndef LF_SIGNATURES_H
#define LF_SIGNATURES_H

#include "program.h"

enum { LF_MAX_INPUTS = 10, LF_MAX_OUTPUTS = 3, LF_MAX_ATTRIBUTES = 14 };

typedef enum lf_attribute_type {
    LF_ATTRIBUTE_INT,
    LF_ATTRIBUTE_FLOAT,
    LF_ATTRIBUTE_FLAG,
    LF_ATTRIBUTE_NAME,
    LF_ATTRIBUTE_INTS
} lf_attribute_type;

/* name: null where there is no further one. choices: how many there are for an LF_ATTRIBUTE_NAME. */
typedef struct lf_parameter {
    const char *name;
    lf_attribute_type type;
    uint32_t choices;
} lf_parameter;

/* inputs: as operations.py writes them, "=" before one that must be a constant and "?" behind one that may be left
 * out, or "*" alone for one or more; null where there is no further one. */
typedef struct lf_signature {
    const char *code;
    uint32_t outputs;
    const char *inputs[LF_MAX_INPUTS];
    lf_parameter attributes[LF_MAX_ATTRIBUTES];
} lf_signature;

/* Null where there is no operation of that number. */
const lf_signature *lf_signature_of(uint32_t number);

/* Where an attribute stands among those of its operation, for operations with more than one. */
enum { LF_CONV_STRIDE, LF_CONV_DILATION, LF_CONV_GROUPS, LF_CONV_PAD_BEGIN, LF_CONV_PAD_END };
enum { LF_CONV2D_STRIDES, LF_CONV2D_DILATIONS, LF_CONV2D_GROUPS };
enum { LF_CONV2D_PAD_BEGIN = LF_CONV2D_GROUPS + 1, LF_CONV2D_PAD_END };
enum { LF_LSTM_GATE = 0, LF_LSTM_INPUT = 3, LF_LSTM_OUTPUT = 6 }; /* alpha and beta follow each */
enum { LF_LSTM_CLIP = 9, LF_LSTM_CELL_CLIP, LF_LSTM_PROJ_CLIP, LF_LSTM_COUPLED, LF_LSTM_EPSILON };
enum { LF_CLIP_MIN, LF_CLIP_MAX };
enum { LF_REDUCE_KIND, LF_REDUCE_AXES, LF_REDUCE_KEEPDIMS };
enum { LF_SLICE_STARTS, LF_SLICE_ENDS, LF_SLICE_STEPS };
enum { LF_PAD_BEFORE, LF_PAD_AFTER, LF_PAD_MODE, LF_PAD_VALUE };

/* What a name chooses. */
enum { LF_PAD_CONSTANT, LF_PAD_REFLECT };

/* Where an input stands among those of its operation, for operations with many. */
enum {
    LF_LSTM_X,
    LF_LSTM_H,
    LF_LSTM_C,
    LF_LSTM_WEIGHT_IH,
    LF_LSTM_WEIGHT_HH,
    LF_LSTM_BIAS,
    LF_LSTM_WEIGHT_HR,
    LF_LSTM_PEEPHOLE,
    LF_LSTM_LAYER_NORM,
    LF_LSTM_BIAS_HR
};
enum { LF_GRU_X, LF_GRU_H, LF_GRU_WEIGHT_IH, LF_GRU_WEIGHT_HH, LF_GRU_BIAS_IH, LF_GRU_BIAS_HH };

#endif
