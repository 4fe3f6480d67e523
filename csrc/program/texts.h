/* The strings of a file: each stands behind the one before it, or is one that was there already. */
#ifndef LF_TEXTS_H
#define LF_TEXTS_H

#include "program.h"

enum { LF_LONGEST_NAME = 1 << 12, LF_LONGEST_NOTE = 1 << 16 }; /* in characters */

/* What a string is used for, as bits: a name of each sort stands for one thing. */
enum {
    LF_USE_SOURCE = 0,
    LF_USE_INPUT = 1,
    LF_USE_OUTPUT = 2,
    LF_USE_STATE = 4,
    LF_USE_HISTORY = 8
};

/* The next character of UTF-8 in its shortest form, which it goes past; 0 where there is none, and for a NUL. */
uint32_t lf_next_character(const unsigned char **at, const unsigned char *end);

typedef struct lf_known_text {
    uint32_t begin, bytes, characters, uses;
} lf_known_text;

/* known: those read so far, the empty one first, then in their order; room for one more than there are strings. order
 * and spare: as much room, for the check at the end. */
typedef struct lf_texts {
    const char *text;
    size_t bytes, end; /* of the text, and of the last known string */
    lf_known_text *known;
    uint32_t *order, *spare;
    uint32_t count;
} lf_texts;

void lf_begin_texts(lf_texts *texts);

/* The string of these two words; null where it is none, or has more than `most` characters. */
lf_known_text *lf_know_text(lf_texts *texts, uint32_t begin, uint32_t bytes, size_t most);

/* Whether a known string can be one more name of this sort. */
int lf_use_as_name(lf_known_text *known, uint32_t use);

/* Whether an input of that name, which has been read, can have a history. */
int lf_use_as_history(lf_known_text *known);

/* At the end: whether the text is used up, each string is there once, and no history has the name of a state. */
int lf_texts_are_canonical(lf_texts *texts);

#endif
