/*
 * What snapshots of a model begin with: magic, a length, and JSON as Python's json.dumps writes it. The model determines
 * every byte, so it is written once, when the model is made, and nothing is ever parsed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "program/signatures.h"
#include "program/texts.h"
#include "snapshot_header.h"

#define MAGIC "LSTMFAST"

#define NAME_OF(type, name, bytes, sums) [type] = #name,
static const char *const type_names[LF_WEIGHT_TYPES] = {LF_EACH_WEIGHT_TYPE(NAME_OF)};
static const char *const kind_names[] = {
    [LF_KIND_FLOAT32] = "float32", [LF_KIND_INT64] = "int64", [LF_KIND_BOOL] = "bool"};

/* The same walk counts first, without memory, and then writes. */
typedef struct writer {
    char *to;
    size_t bytes;
} writer;

static void put_bytes(writer *w, const char *bytes, size_t count) {
    if (w->to)
        memcpy(w->to + w->bytes, bytes, count);
    w->bytes += count;
}

static void put(writer *w, const char *text) { put_bytes(w, text, strlen(text)); }

static void put_number(writer *w, size_t number) {
    char digits[24];
    (void)snprintf(digits, sizeof digits, "%zu", number);
    put(w, digits);
}

/* One of the units of UTF-16 that JSON escapes a character with. */
static void put_unit(writer *w, uint32_t unit) {
    char escape[12];
    (void)snprintf(escape, sizeof escape, "\\u%04x", (unsigned)unit & 0xFFFFu);
    put(w, escape);
}

static void put_character(writer *w, uint32_t character) {
    static const char short_ones[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
    const char itself = (char)character;
    const char *const found = character < 0x80 ? strchr(short_ones, itself) : NULL;
    if (found) {
        put(w, "\\");
        put_bytes(w, &letters[found - short_ones], 1);
    } else if (character >= 0x20 && character < 0x7F) {
        put_bytes(w, &itself, 1);
    } else if (character < 0x10000) {
        put_unit(w, character);
    } else {
        put_unit(w, 0xD800 + ((character - 0x10000) >> 10));
        put_unit(w, 0xDC00 + ((character - 0x10000) & 0x3FF));
    }
}

/* text: UTF-8 that was checked. */
static void put_string(writer *w, const char *text) {
    const unsigned char *at = (const unsigned char *)text, *const end = at + strlen(text);
    put(w, "\"");
    while (at < end)
        put_character(w, lf_next_character(&at, end));
    put(w, "\"");
}

/* ---- weight types ---- */

/* As _weight_types.py. */
/* Whether one of its inputs is a matrix of weights, as in `matrices` of lstm_fast/_weight_types.py. */
static int has_weights(const lf_op *op) {
    const lf_signature *const signature = lf_signature_of(op->code);
    for (uint32_t n = 0; n < op->input_count && signature->inputs[n]; n++)
        if (!strncmp(signature->inputs[n], "=weight", strlen("=weight")))
            return 1;
    return 0;
}

/* What a name for the whole model means for one operation. */
static lf_weight_type type_under(lf_weight_type type, const lf_op *op) {
    const int has_it = type == LF_INT8 ? op->code == LF_OP_LSTM : has_weights(op);
    return has_it ? type : LF_FLOAT32;
}

static lf_weight_type type_of(const lf_program *program, const lf_weight_type *types, uint32_t n) {
    return types && has_weights(&program->ops[n]) ? types[n] : LF_FLOAT32;
}

/* Whether a name says it all. int8 is none where there is a GRU, which has no such weights. */
static int is_named(const lf_program *program, const lf_weight_type *types, lf_weight_type name) {
    for (uint32_t n = 0; n < program->op_count; n++) {
        const lf_op *const op = &program->ops[n];
        if (type_of(program, types, n) != type_under(name, op) ||
            (name == LF_INT8 && op->code == LF_OP_GRU))
            return 0;
    }
    return 1;
}

static void put_weight_types(writer *w, const lf_program *program, const lf_weight_type *types) {
    for (int name = 0; name < LF_WEIGHT_TYPES; name++)
        if (is_named(program, types, (lf_weight_type)name)) {
            put_string(w, type_names[name]);
            return;
        }
    const char *before = "{\"";
    for (uint32_t n = 0; n < program->op_count; n++) {
        const lf_weight_type type = type_of(program, types, n);
        if (type == LF_FLOAT32)
            continue;
        put(w, before);
        put_number(w, n);
        put(w, "\": ");
        put_string(w, type_names[type]);
        before = ", \"";
    }
    put(w, "}");
}

/* ---- the header ---- */

static void put_entry(writer *w, const lf_value_info *state) {
    put(w, "{\"name\": ");
    put_string(w, state->name);
    put(w, ", \"dtype\": ");
    put_string(w, kind_names[state->kind]);
    put(w, ", \"shape\": [");
    for (size_t axis = 0; axis < state->rank; axis++) {
        put(w, axis ? ", " : "");
        put_number(w, state->shape[axis]);
    }
    put(w, "]}");
}

static void put_fingerprint(writer *w, const unsigned char *fingerprint) {
    put(w, ", \"fingerprint\": \"");
    for (size_t n = 0; n < LF_FINGERPRINT_BYTES; n++) {
        char digits[3];
        (void)snprintf(digits, sizeof digits, "%02x", fingerprint[n]);
        put(w, digits);
    }
    put(w, "\", \"weight_dtype\": ");
}

static void walk_lstm(writer *w, const lf_model *model, const unsigned char *fingerprint) {
    put(w, "{\"version\": 1");
    put_fingerprint(w, fingerprint);
    put_string(w, type_names[model->weight_type]);
    put(w, ", \"num_layers\": ");
    put_number(w, model->num_layers);
    put(w, ", \"hidden_size\": ");
    put_number(w, model->hidden_size);
    if (model->has_projection) {
        put(w, ", \"proj_size\": ");
        put_number(w, model->output_size);
    }
    put(w, "}");
}

static void walk_program(writer *w, const lf_model *model, const lf_program *program,
                         const lf_weight_type *types) {
    put(w, "{\"version\": 2");
    put_fingerprint(w, program->fingerprint);
    put_weight_types(w, program, types);
    put(w, ", \"entries\": [");
    for (size_t n = 0; n < model->values.state_count; n++) {
        put(w, n ? ", " : "");
        put_entry(w, &model->values.states[n]);
    }
    put(w, "]}");
}

/* program: null of an LSTM. */
static void walk(writer *w, const lf_model *model, const unsigned char *fingerprint,
                 const lf_program *program, const lf_weight_type *types) {
    w->bytes = LF_MAGIC_BYTES + LF_LENGTH_BYTES;
    if (program)
        walk_program(w, model, program, types);
    else
        walk_lstm(w, model, fingerprint);
}

static int make(lf_model *model, const unsigned char *fingerprint, const lf_program *program,
                const lf_weight_type *types) {
    writer w = {0};
    walk(&w, model, fingerprint, program, types);
    const size_t length = w.bytes - LF_MAGIC_BYTES - LF_LENGTH_BYTES;
    w.to = length > UINT32_MAX ? NULL : malloc(w.bytes);
    if (!w.to)
        return 0;
    walk(&w, model, fingerprint, program, types);
    memcpy(w.to, MAGIC, LF_MAGIC_BYTES);
    for (int n = 0; n < LF_LENGTH_BYTES; n++)
        w.to[LF_MAGIC_BYTES + n] = (char)(length >> 8 * n & 0xFFu);
    model->snapshot_header = w.to;
    model->snapshot_header_bytes = w.bytes;
    return 1;
}

int lf_make_lstm_header(lf_model *model, const unsigned char *fingerprint) {
    return make(model, fingerprint, NULL, NULL);
}

int lf_make_program_header(lf_model *model, const lf_program *program,
                           const lf_weight_type *types) {
    return make(model, NULL, program, types);
}
