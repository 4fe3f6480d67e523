/* A parsed program as one line of text, which tests compare with that of another reader. */
#ifndef LFM_TEXT_H
#define LFM_TEXT_H

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "program/signatures.h"

/* CRC-32 as zlib has it. */
static uint32_t crc32_of(const void *data, size_t size) {
    const unsigned char *bytes = data;
    uint32_t crc = UINT32_MAX;
    for (size_t n = 0; n < size; n++) {
        crc ^= bytes[n];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1u ? 0xEDB88320u : 0u);
    }
    return ~crc;
}

static void print_words(const uint32_t *words, uint32_t count) {
    for (uint32_t n = 0; n < count; n++)
        printf("%s%" PRIu32, n ? "," : "", words[n]);
}

static void print_text(lf_text text) {
    printf(" %" PRIx32 ":%zu", crc32_of(text.characters, text.bytes), text.bytes);
}

/* Elements in C's order, which must be aligned for every vector. */
static void print_values(const void *values, const lf_tensor *tensor) {
    if ((uintptr_t)values % 64)
        printf(" unaligned");
    printf("=%" PRIx32, crc32_of(values, tensor->count * lf_kind_bytes(tensor->kind)));
}

static void print_attribute(lf_attribute_type type, const lf_attribute *attribute) {
    uint32_t bits;
    switch (type) {
    case LF_ATTRIBUTE_INT:
    case LF_ATTRIBUTE_FLAG:
    case LF_ATTRIBUTE_NAME:
        printf(" %" PRId32, attribute->whole);
        return;
    case LF_ATTRIBUTE_FLOAT:
        memcpy(&bits, &attribute->real, sizeof bits);
        printf(" %" PRIx32 "f", bits);
        return;
    case LF_ATTRIBUTE_INTS:
        printf(" [");
        for (uint32_t n = 0; n < attribute->count; n++)
            printf("%s%" PRId32, n ? "," : "", attribute->several[n]);
        printf("]");
        return;
    }
}

static void print_op(const lf_op *op) {
    const lf_signature *signature = lf_signature_of(op->code);
    printf(" op %s", signature->code);
    print_text(op->source);
    printf(" (");
    print_words(op->inputs, op->input_count);
    printf(") (");
    print_words(op->outputs, op->output_count);
    printf(")");
    for (size_t n = 0; n < LF_MAX_ATTRIBUTES && signature->attributes[n].name; n++)
        print_attribute(signature->attributes[n].type, op->attributes + n);
}

static void print_program(const lf_program *program) {
    for (uint32_t n = 0; n < program->tensor_count; n++) {
        const lf_tensor *tensor = program->tensors + n;
        printf(" tensor %d (", (int)tensor->kind);
        print_words(tensor->shape.sizes, tensor->shape.rank);
        printf(") %zu", tensor->count);
        if (tensor->constant)
            print_values(tensor->constant, tensor);
    }
    for (uint32_t n = 0; n < program->input_count; n++) {
        const lf_program_input *one = program->inputs + n;
        printf(" input");
        print_text(one->name);
        printf(" %" PRIu32 " %" PRIu32 " (", one->tensor, one->history);
        print_words(one->given.sizes, one->given.rank);
        printf(")");
    }
    for (uint32_t n = 0; n < program->output_count; n++) {
        printf(" output");
        print_text(program->outputs[n].name);
        printf(" %" PRIu32, program->outputs[n].tensor);
    }
    for (uint32_t n = 0; n < program->state_count; n++) {
        const lf_program_state *one = program->states + n;
        printf(" state");
        print_text(one->name);
        printf(" %" PRIu32 " %" PRIu32, one->tensor, one->next);
        print_values(one->initial, program->tensors + one->tensor);
    }
    for (uint32_t n = 0; n < program->op_count; n++)
        print_op(program->ops + n);
}

/* number, code, outputs, inputs; then each attribute with its type and how many names it chooses from. */
static void print_table(uint32_t end) {
    static const char *const types[] = {"int", "float", "flag", "name", "ints"};
    for (uint32_t number = 0; number < end; number++) {
        const lf_signature *one = lf_signature_of(number);
        if (!one)
            continue;
        printf("%" PRIu32 " %s %" PRIu32, number, one->code, one->outputs);
        for (size_t n = 0; n < LF_MAX_INPUTS && one->inputs[n]; n++)
            printf(" %s", one->inputs[n]);
        for (size_t n = 0; n < LF_MAX_ATTRIBUTES && one->attributes[n].name; n++)
            printf(" %s:%s:%" PRIu32, one->attributes[n].name, types[one->attributes[n].type],
                   one->attributes[n].choices);
        printf("\n");
    }
}

#endif
