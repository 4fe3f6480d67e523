#include <math.h>
#include <string.h>

#include "../layout.h"
#include "records.h"
#include "tensor.h"

const uint32_t *lf_take(lf_records *records, size_t count) {
    const uint32_t *const words = records->words;
    if (count > records->words_left)
        return NULL;
    records->words += count;
    records->words_left -= count;
    return words;
}

lf_known_text *lf_take_text(lf_records *records, size_t most, lf_text *text) {
    const uint32_t *const words = lf_take(records, 2);
    lf_known_text *known = words ? lf_know_text(&records->texts, words[0], words[1], most) : NULL;
    if (known)
        *text = (lf_text){records->texts.text + known->begin, known->bytes};
    return known;
}

int lf_take_shape(lf_records *records, lf_kind kind, lf_tensor *tensor) {
    const uint32_t *const rank = lf_take(records, 1);
    const uint32_t *const words = rank ? lf_take(records, *rank) : NULL;
    int64_t sizes[LF_MAX_RANK];
    for (uint32_t axis = 0; words && axis < *rank && axis < LF_MAX_RANK; axis++)
        sizes[axis] = words[axis];
    return words && lf_set_tensor(tensor, kind, *rank, sizes);
}

int lf_are_zeros(const unsigned char *bytes, size_t count) {
    for (size_t n = 0; n < count; n++)
        if (bytes[n])
            return 0;
    return 1;
}

const void *lf_take_array(lf_records *records, const lf_tensor *tensor) {
    const unsigned char *const array = records->arrays;
    const size_t bytes = tensor->count * lf_kind_bytes(tensor->kind);
    const size_t padded = lf_round_up(bytes, LF_ALIGNMENT);
    const uint32_t *const begin = lf_take(records, 1);
    if (!begin || *begin != records->array_units || padded > records->array_bytes_left ||
        !lf_are_zeros(array + bytes, padded - bytes))
        return NULL;
    records->arrays += padded;
    records->array_bytes_left -= padded;
    records->array_units += padded / LF_ALIGNMENT;
    return array;
}

int lf_take_attribute(lf_records *records, const lf_parameter *parameter, lf_attribute *attribute) {
    const uint32_t *const word = lf_take(records, 1);
    if (!word)
        return 0;
    *attribute = (lf_attribute){0};
    switch (parameter->type) {
    case LF_ATTRIBUTE_INT:
        memcpy(&attribute->whole, word, sizeof *word);
        return 1;
    case LF_ATTRIBUTE_FLOAT:
        memcpy(&attribute->real, word, sizeof *word);
        return !isnan(attribute->real);
    case LF_ATTRIBUTE_FLAG:
        attribute->whole = (int32_t)(*word & 1u);
        return *word <= 1;
    case LF_ATTRIBUTE_NAME:
        attribute->whole = (int32_t)(*word & INT32_MAX);
        return *word < parameter->choices;
    case LF_ATTRIBUTE_INTS:
        attribute->count = *word;
        attribute->several = (const int32_t *)lf_take(records, *word);
        return attribute->several != NULL;
    }
    return 0;
}
