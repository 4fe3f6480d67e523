/* The words, strings and arrays of a file, each read once, from the front. */
#ifndef LF_RECORDS_H
#define LF_RECORDS_H

#include "signatures.h"
#include "texts.h"

typedef struct lf_records {
    const uint32_t *words;
    size_t words_left;
    lf_texts texts;
    const unsigned char *arrays;
    size_t array_bytes_left;
    uint64_t array_units; /* of LF_ALIGNMENT bytes, which have been read */
} lf_records;

/* The next words; null where there are not so many. */
const uint32_t *lf_take(lf_records *records, size_t count);

/* A string of at most `most` characters. What is known of it, or null. */
lf_known_text *lf_take_text(lf_records *records, size_t most, lf_text *text);

/* A shape, as that of a tensor. 0 where there is none. */
int lf_take_shape(lf_records *records, lf_kind kind, lf_tensor *tensor);

/* An array of a tensor's shape and kind, with its padding; null where there is none. */
const void *lf_take_array(lf_records *records, const lf_tensor *tensor);

/* 0 where there is none of that type. */
int lf_take_attribute(lf_records *records, const lf_parameter *parameter, lf_attribute *attribute);

/* Whether all bytes are zeros. */
int lf_are_zeros(const unsigned char *bytes, size_t count);

#endif
