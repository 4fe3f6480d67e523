#include "signatures.h"

/* clang-format off */
#define INT(name) {name, LF_ATTRIBUTE_INT, 0}
#define FLOAT(name) {name, LF_ATTRIBUTE_FLOAT, 0}
#define FLAG(name) {name, LF_ATTRIBUTE_FLAG, 0}
#define INTS(name) {name, LF_ATTRIBUTE_INTS, 0}
#define NAME(name, choices) {name, LF_ATTRIBUTE_NAME, choices}
#define ACTIVATION(role) NAME(role, 11), FLOAT(role "_alpha"), FLOAT(role "_beta")

#define INPUTS(...) .inputs = {__VA_ARGS__}
#define ATTRIBUTES(...) .attributes = {__VA_ARGS__}
#define UNARY(code) {code, 1, INPUTS("x")}
#define BINARY(code) {code, 1, INPUTS("a", "b")}

static const lf_signature signatures[] = {
    [LF_OP_DENSE] = {"dense", 1, INPUTS("x", "=weight", "=bias?")},
    [LF_OP_CONV] = {"conv", 1, INPUTS("x", "=weight", "=bias?"),
        ATTRIBUTES(INT("stride"), INT("dilation"), INT("groups"), INT("pad_begin"), INT("pad_end"))},
    [LF_OP_LSTM] = {"lstm", 3,
        INPUTS("x", "h", "c", "=weight_ih", "=weight_hh", "=bias?",
               "=weight_hr?", "=peephole?", "=layer_norm?", "=bias_hr?"),
        ATTRIBUTES(ACTIVATION("gate"), ACTIVATION("input"), ACTIVATION("output"),
                   FLOAT("clip"), FLOAT("cell_clip"), FLOAT("proj_clip"),
                   NAME("coupled", 3), FLOAT("layer_norm_eps"))},
    [LF_OP_GRU] = {"gru", 2,
        INPUTS("x", "h", "=weight_ih", "=weight_hh", "=bias_ih?", "=bias_hh?"),
        ATTRIBUTES(FLAG("linear_before_reset"))},
    [LF_OP_CONV2D] = {"conv2d", 1, INPUTS("x", "=weight", "=bias?"),
        ATTRIBUTES(INTS("strides"), INTS("dilations"), INT("groups"), INTS("pad_begin"), INTS("pad_end"))},

    [LF_OP_RELU] = UNARY("relu"),
    [LF_OP_SIGMOID] = UNARY("sigmoid"),
    [LF_OP_TANH] = UNARY("tanh"),
    [LF_OP_EXP] = UNARY("exp"),
    [LF_OP_LOG] = UNARY("log"),
    [LF_OP_ABS] = UNARY("abs"),
    [LF_OP_NEG] = UNARY("neg"),
    [LF_OP_SQRT] = UNARY("sqrt"),
    [LF_OP_RECIPROCAL] = UNARY("reciprocal"),
    [LF_OP_ERF] = UNARY("erf"),
    [LF_OP_SOFTPLUS] = UNARY("softplus"),
    [LF_OP_SOFTSIGN] = UNARY("softsign"),
    [LF_OP_HARD_SWISH] = UNARY("hard_swish"),
    [LF_OP_SQUARE] = UNARY("square"),
    [LF_OP_HARD_SIGMOID] = {"hard_sigmoid", 1, INPUTS("x"), ATTRIBUTES(FLOAT("alpha"), FLOAT("beta"))},
    [LF_OP_ELU] = {"elu", 1, INPUTS("x"), ATTRIBUTES(FLOAT("alpha"))},
    [LF_OP_LEAKY_RELU] = {"leaky_relu", 1, INPUTS("x"), ATTRIBUTES(FLOAT("alpha"))},
    [LF_OP_GELU] = {"gelu", 1, INPUTS("x"), ATTRIBUTES(NAME("approximate", 2))},
    [LF_OP_CLIP] = {"clip", 1, INPUTS("x"), ATTRIBUTES(FLOAT("min"), FLOAT("max"))},

    [LF_OP_ADD] = BINARY("add"),
    [LF_OP_SUB] = BINARY("sub"),
    [LF_OP_MUL] = BINARY("mul"),
    [LF_OP_DIV] = BINARY("div"),
    [LF_OP_MINIMUM] = BINARY("minimum"),
    [LF_OP_MAXIMUM] = BINARY("maximum"),
    [LF_OP_POW] = BINARY("pow"),
    [LF_OP_PRELU] = BINARY("prelu"),
    [LF_OP_LESS] = BINARY("less"),
    [LF_OP_GREATER] = BINARY("greater"),
    [LF_OP_EQUAL] = BINARY("equal"),
    [LF_OP_LOGICAL_AND] = BINARY("logical_and"),
    [LF_OP_LOGICAL_OR] = BINARY("logical_or"),
    [LF_OP_LOGICAL_NOT] = UNARY("logical_not"),
    [LF_OP_WHERE] = {"where", 1, INPUTS("condition", "a", "b")},

    [LF_OP_SOFTMAX] = {"softmax", 1, INPUTS("x"), ATTRIBUTES(INT("axis"))},
    [LF_OP_LOG_SOFTMAX] = {"log_softmax", 1, INPUTS("x"), ATTRIBUTES(INT("axis"))},
    [LF_OP_LAYER_NORM] = {"layer_norm", 1, INPUTS("x", "=scale?", "=bias?"), ATTRIBUTES(FLOAT("epsilon"))},
    [LF_OP_REDUCE] = {"reduce", 1, INPUTS("x"), ATTRIBUTES(NAME("kind", 5), INTS("axes"), FLAG("keepdims"))},

    [LF_OP_CONCAT] = {"concat", 1, INPUTS("*"), ATTRIBUTES(INT("axis"))},
    [LF_OP_SLICE] = {"slice", 1, INPUTS("x"), ATTRIBUTES(INTS("starts"), INTS("ends"), INTS("steps"))},
    [LF_OP_GATHER] = {"gather", 1, INPUTS("x", "=indices"), ATTRIBUTES(INT("axis"))},
    [LF_OP_EMBEDDING] = {"embedding", 1, INPUTS("=table", "indices")},
    [LF_OP_TRANSPOSE] = {"transpose", 1, INPUTS("x"), ATTRIBUTES(INTS("order"))},
    [LF_OP_RESHAPE] = {"reshape", 1, INPUTS("x"), ATTRIBUTES(INTS("shape"))},
    [LF_OP_EXPAND] = {"expand", 1, INPUTS("x"), ATTRIBUTES(INTS("shape"))},
    [LF_OP_PAD] = {"pad", 1, INPUTS("x"),
        ATTRIBUTES(INTS("before"), INTS("after"), NAME("mode", 2), FLOAT("value"))},
    [LF_OP_CAST] = {"cast", 1, INPUTS("x"), ATTRIBUTES(NAME("kind", 3))},
};
/* clang-format on */

const lf_signature *lf_signature_of(uint32_t number) {
    const size_t count = sizeof signatures / sizeof *signatures;
    return number < count && signatures[number].code ? &signatures[number] : NULL;
}
