/*
 * L2 finds lines by their physical address. What is one large page to a virtual machine can be small ones of its host,
 * and so can ours where there are no large ones; here and there many of them fall on the same part of L2. Weights that
 * would fit then don't, or only as long as nobody else has anything there, and a step takes up to 1.6 times as long, as
 * long as the process lives. So of a few placements in the page weights take the one that is read most quickly after
 * something else. The figures are in benchmarks/NOTES.md, "What still pays".
 */
#include <stdlib.h>

#include "../cpu/cpu.h"
#include "../tuning.h"
#include "memory.h"

/* All lines, in the order of their addresses. */
static void read_lines(const char *memory, size_t bytes) {
    uint64_t seen = 0;
    for (size_t at = 0; at + LF_ALIGNMENT <= bytes; at += LF_ALIGNMENT)
        seen |= *(const volatile uint64_t *)(const void *)(memory + at);
    (void)seen;
}

int lf_searches_placement(void) {
    const char *const chosen = getenv("LSTM_FAST_PLACEMENT");
    return !(chosen && chosen[0] == '0' && !chosen[1]);
}

/* others: null where there is no room for them. */
static uint64_t ticks_to_read(lf_reader read, const char *placement, size_t bytes,
                              const char *others) {
    uint64_t least = UINT64_MAX;
    for (int pass = 0; pass < LF_PLACEMENT_PASSES; pass++) {
        if (others)
            read(others, LF_PLACEMENT_OTHERS);
        const uint64_t start = lf_ticks();
        read(placement, bytes);
        const uint64_t ticks = lf_ticks() - start;
        if (pass >= LF_PLACEMENT_SETTLES && ticks < least)
            least = ticks;
    }
    return least;
}

char *lf_quickest_placement(lf_reader read, char *memory, size_t whole, size_t bytes) {
    uint64_t least = UINT64_MAX;
    char *quickest = memory;
    if (!lf_ticks() || bytes + LF_PLACEMENTS_APART > whole) /* no clock, or no choice */
        return memory;
    if (!read)
        read = read_lines;
    for (size_t at = 0; at + bytes <= whole; at += LF_PLACEMENTS_APART) {
        const size_t end = lf_round_up(at + bytes, LF_ALIGNMENT);
        const char *const others = end + LF_PLACEMENT_OTHERS <= whole ? memory + end
                                   : at >= LF_PLACEMENT_OTHERS ? memory + at - LF_PLACEMENT_OTHERS
                                                               : NULL;
        const uint64_t ticks = ticks_to_read(read, memory + at, bytes, others);
        if (ticks < least) {
            least = ticks;
            quickest = memory + at;
        }
    }
    return quickest;
}
