/* Buffers that are never alive at the same time share their memory: each takes the first gap that it fits. */
#include <stdlib.h>

#include "../tuning.h"
#include "planner.h"

/* A part of scratch that nothing uses at the moment; they are sorted, and no two of them touch. */
typedef struct gap {
    size_t begin, end;
} gap;

typedef struct scratch {
    gap *gaps;
    size_t count, end; /* end: of all that was ever used */
} scratch;

static void remove_gap(scratch *s, size_t n) {
    s->count--;
    for (; n < s->count; n++)
        s->gaps[n] = s->gaps[n + 1];
}

static size_t take(scratch *s, size_t bytes) {
    for (size_t n = 0; n < s->count; n++) {
        if (s->gaps[n].end - s->gaps[n].begin < bytes)
            continue;
        const size_t begin = s->gaps[n].begin;
        s->gaps[n].begin += bytes;
        if (s->gaps[n].begin == s->gaps[n].end)
            remove_gap(s, n);
        return begin;
    }
    size_t begin = s->end;
    if (s->count && s->gaps[s->count - 1].end == s->end)
        begin = s->gaps[--s->count].begin;
    s->end = begin + bytes;
    return begin;
}

static void give_back(scratch *s, size_t begin, size_t end) {
    size_t n = s->count;
    while (n > 0 && s->gaps[n - 1].begin > begin)
        n--;
    const int joins_before = n > 0 && s->gaps[n - 1].end == begin;
    const int joins_after = n < s->count && s->gaps[n].begin == end;
    if (joins_before && joins_after) {
        s->gaps[n - 1].end = s->gaps[n].end;
        remove_gap(s, n);
    } else if (joins_before) {
        s->gaps[n - 1].end = end;
    } else if (joins_after) {
        s->gaps[n].begin = begin;
    } else {
        for (size_t i = s->count++; i > n; i--)
            s->gaps[i] = s->gaps[i - 1];
        s->gaps[n] = (gap){begin, end};
    }
}

/* Heads and links of lists of buffers by the instruction after which they end. */
typedef struct endings {
    size_t *head, *next;
} endings;

static const size_t none = SIZE_MAX;

static void place_all(lf_planner *planner, scratch *s, endings ends) {
    const size_t steps = planner->plan->instruction_count + 2;
    for (size_t step = 0; step < steps; step++)
        ends.head[step] = none;
    size_t n = 0;
    for (size_t step = 0; step < steps; step++) {
        /* they were made in the order of the instructions that they begin with */
        for (; n < planner->buffer_count && planner->buffers[n].first <= step; n++) {
            lf_buffer *const buffer = &planner->buffers[n];
            buffer->offset = take(s, buffer->bytes);
            ends.next[n] = ends.head[buffer->last];
            ends.head[buffer->last] = n;
        }
        for (size_t i = ends.head[step]; i != none; i = ends.next[i])
            give_back(s, planner->buffers[i].offset,
                      planner->buffers[i].offset + planner->buffers[i].bytes);
    }
}

void lf_place_buffers(lf_planner *planner) {
    const size_t count = planner->buffer_count;
    scratch s = {.gaps = calloc(count + 1, sizeof(gap))};
    endings ends = {.head = calloc(planner->plan->instruction_count + 2, sizeof(size_t)),
                    .next = calloc(count + 1, sizeof(size_t))};
    if (s.gaps && ends.head && ends.next)
        place_all(planner, &s, ends);
    else
        lf_fail(planner, LF_ERR_MEMORY);
    planner->plan->scratch_bytes = s.end ? s.end : LF_ALIGNMENT;
    free(s.gaps);
    free(ends.head);
    free(ends.next);
}
