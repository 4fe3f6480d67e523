#include <string.h>

#include "texts.h"

#define HISTORY ".history" /* behind the name of its input: _program_checks.py */
enum { HISTORY_BYTES = sizeof HISTORY - 1 };

/* ---- characters ---- */

uint32_t lf_next_character(const unsigned char **at, const unsigned char *end) {
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000}; /* by how many bytes follow */
    const uint32_t lead = *(*at)++;
    if ((lead >= 0x80 && lead < 0xC2) || lead > 0xF4)
        return 0;
    const int following = lead < 0x80 ? 0 : lead < 0xE0 ? 1 : lead < 0xF0 ? 2 : 3;
    uint32_t value = following ? lead & 0x3Fu >> following : lead;
    if (end - *at < following)
        return 0;
    for (int n = 0; n < following; n++) {
        const uint32_t byte = *(*at)++;
        if (byte >> 6 != 2)
            return 0;
        value = value << 6 | (byte & 0x3Fu);
    }
    const int is_surrogate = value >= 0xD800 && value < 0xE000;
    return value < least[following] || value > 0x10FFFF || is_surrogate ? 0 : value;
}

/* How many characters there are; 0 where a byte belongs to none. */
static uint32_t count_characters(const char *text, size_t bytes) {
    const unsigned char *at = (const unsigned char *)text, *const end = at + bytes;
    uint32_t count = 0;
    for (; at < end; count++)
        if (!lf_next_character(&at, end))
            return 0;
    return count;
}

/* ---- reading ---- */

void lf_begin_texts(lf_texts *texts) {
    texts->known[0] = (lf_known_text){0};
    texts->count = 1;
}

/* The known string that is not empty and begins there, or null. */
static lf_known_text *find(const lf_texts *texts, uint32_t begin) {
    uint32_t low = 1, high = texts->count;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (texts->known[middle].begin < begin)
            low = middle + 1;
        else
            high = middle;
    }
    return low < texts->count && texts->known[low].begin == begin ? &texts->known[low] : NULL;
}

lf_known_text *lf_know_text(lf_texts *texts, uint32_t begin, uint32_t bytes, size_t most) {
    if (!bytes)
        return begin ? NULL : texts->known;
    if (begin < texts->end) {
        lf_known_text *known = find(texts, begin);
        return known && known->bytes == bytes ? known : NULL;
    }
    if (begin != texts->end || bytes > texts->bytes - texts->end || bytes > 4 * most)
        return NULL;
    const uint32_t characters = count_characters(texts->text + begin, bytes);
    if (!characters || characters > most)
        return NULL;
    texts->known[texts->count] = (lf_known_text){begin, bytes, characters, 0};
    texts->end += bytes;
    return &texts->known[texts->count++];
}

int lf_use_as_name(lf_known_text *known, uint32_t use) {
    if (!known->bytes || known->uses & use)
        return 0;
    known->uses |= use;
    return 1;
}

int lf_use_as_history(lf_known_text *known) {
    known->uses |= LF_USE_HISTORY;
    return known->characters + HISTORY_BYTES <= LF_LONGEST_NAME;
}

/* ---- the check at the end ---- */

/* By length, and then by content. */
static int compare(const char *a, size_t a_bytes, const char *b, size_t b_bytes) {
    return a_bytes != b_bytes ? (a_bytes < b_bytes ? -1 : 1) : memcmp(a, b, a_bytes);
}

static int compare_known(const lf_texts *texts, uint32_t a, uint32_t b) {
    const lf_known_text *first = texts->known + a, *second = texts->known + b;
    return compare(texts->text + first->begin, first->bytes, texts->text + second->begin,
                   second->bytes);
}

/* Merges two sorted runs of `order` into `spare`. */
static void merge(const lf_texts *texts, uint32_t begin, uint32_t middle, uint32_t end) {
    const uint32_t *order = texts->order;
    for (uint32_t a = begin, b = middle, to = begin; to < end; to++) {
        const int takes_a =
            b == end || (a < middle && compare_known(texts, order[a], order[b]) <= 0);
        texts->spare[to] = takes_a ? order[a++] : order[b++];
    }
}

/* By merging, since each comparison then reads no more than the string that it puts in its place: no choice of strings
 * takes longer than reading the text once for each doubling of the runs. */
static void sort(lf_texts *texts) {
    for (uint32_t n = 0; n < texts->count; n++)
        texts->order[n] = n;
    for (uint32_t run = 1; run < texts->count; run *= 2) {
        for (uint32_t begin = 0; begin < texts->count; begin += 2 * run) {
            const uint32_t left = texts->count - begin;
            merge(texts, begin, begin + (left < run ? left : run),
                  begin + (left < 2 * run ? left : 2 * run));
        }
        uint32_t *const sorted = texts->spare;
        texts->spare = texts->order;
        texts->order = sorted;
    }
}

/* The string of that content among the sorted ones, or null. */
static const lf_known_text *find_content(const lf_texts *texts, const char *content, size_t bytes) {
    uint32_t low = 0, high = texts->count;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        const lf_known_text *one = texts->known + texts->order[middle];
        const int order = compare(texts->text + one->begin, one->bytes, content, bytes);
        if (!order)
            return one;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* Whether a string is the name of a state and of a history. */
static int is_both(const lf_texts *texts, const lf_known_text *one) {
    if (!(one->uses & LF_USE_STATE) || one->bytes <= HISTORY_BYTES)
        return 0;
    const size_t stem = one->bytes - HISTORY_BYTES;
    const char *const name = texts->text + one->begin;
    if (memcmp(name + stem, HISTORY, HISTORY_BYTES) != 0)
        return 0;
    const lf_known_text *input = find_content(texts, name, stem);
    return input && input->uses & LF_USE_HISTORY;
}

int lf_texts_are_canonical(lf_texts *texts) {
    sort(texts);
    for (uint32_t n = 1; n < texts->count; n++)
        if (compare_known(texts, texts->order[n - 1], texts->order[n]) == 0)
            return 0;
    for (uint32_t n = 0; n < texts->count; n++)
        if (is_both(texts, texts->known + n))
            return 0;
    return texts->end == texts->bytes;
}
