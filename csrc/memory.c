/* Memory for states and for weights, and which part of it is quick to read. */
#include <stdlib.h>
#include <string.h>

#include "cpu.h"
#include "internal.h"

void *lf_alloc_zeroed(size_t bytes) {
    bytes = lf_round_up(bytes, LF_ALIGNMENT);
    void *memory = aligned_alloc(LF_ALIGNMENT, bytes);
    if (memory)
        memset(memory, 0, bytes);
    return memory;
}

/*
 * Weights get large pages where the system has them: without, a cold step looks up a page every 4 KiB, and
 * which small pages one draws decides how well they share the cache. Those that fill a good part of one
 * have it to themselves, smaller ones share one with others. The few small pages of what is tiny are no
 * trouble.
 */
#define ENOUGH_FOR_ONE (LF_LARGE_PAGE / 8)
#define ENOUGH_TO_SHARE ((size_t)16 << 10)

/* The address sanitizer knows where an allocation of the C library ends, but not where a place in a page does. */
#if defined(__has_feature)
#define HAS_FEATURE(feature) __has_feature(feature)
#else
#define HAS_FEATURE(feature) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || HAS_FEATURE(address_sanitizer)
#define LARGE_PAGES 0
#else
#define LARGE_PAGES 1
#endif

/*
 * L2 finds lines by their physical address. What is one large page to a virtual machine can be small ones
 * of its host, and so can ours where there are no large ones; here and there many of them fall on the same
 * part of L2. Weights that would fit then don't, or only as long as nobody else has anything there, and a step
 * takes up to 1.6 times as long, as long as the process lives (benchmarks/NOTES.md). So of a few places in the
 * page those take the one that is read most quickly after LF_OTHERS bytes of something else.
 */
#define PLACES_APART (LF_LARGE_PAGE / 4)
/* After a slow place the next one takes a dozen passes until it is as quick as it is, and a slow one is at its
 * best in the first ones. */
#define PASSES 32
#define PASSES_TO_SETTLE 16

static void read_all(const lf_isa *isa, const char *memory, size_t bytes) {
    (void)isa->probe_read((const float *)(const void *)memory, bytes / sizeof(float));
}

/* others: null where there is no room for them. */
static uint64_t ticks_to_read(const lf_isa *isa, const char *place, size_t bytes,
                              const char *others) {
    uint64_t least = UINT64_MAX;
    for (int pass = 0; pass < PASSES; pass++) {
        if (others)
            read_all(isa, others, LF_OTHERS);
        const uint64_t start = lf_ticks();
        read_all(isa, place, bytes);
        const uint64_t ticks = lf_ticks() - start;
        if (pass >= PASSES_TO_SETTLE && ticks < least)
            least = ticks;
    }
    return least;
}

char *lf_quickest_place(const lf_isa *isa, char *memory, size_t whole, size_t bytes) {
    uint64_t least = UINT64_MAX;
    char *quickest = memory;
    for (size_t at = 0; at + bytes <= whole; at += PLACES_APART) {
        const size_t end = lf_round_up(at + bytes, LF_ALIGNMENT);
        const char *const others = end + LF_OTHERS <= whole ? memory + end
                                   : at >= LF_OTHERS        ? memory + at - LF_OTHERS
                                                            : NULL;
        const uint64_t ticks = ticks_to_read(isa, memory + at, bytes, others);
        if (ticks < least) {
            least = ticks;
            quickest = memory + at;
        }
    }
    return quickest;
}

static char *take_large(const lf_isa *isa, size_t bytes, int fit_l2, lf_block *block) {
    const size_t whole = lf_round_up(bytes, LF_LARGE_PAGE);
    char *memory = lf_alloc_large(whole);
    if (!memory)
        return NULL;
    block->large = memory;
    block->large_bytes = whole;
    /* what was never touched is read from the one page of zeros, which is quick */
    memset(memory, 0, fit_l2 ? whole : bytes);
    return fit_l2 ? lf_quickest_place(isa, memory, whole, bytes) : memory;
}

char *lf_alloc_weights(const lf_isa *isa, size_t bytes, int fit_l2, lf_block *block) {
    *block = (lf_block){0};
    if (LARGE_PAGES && bytes >= ENOUGH_TO_SHARE && bytes <= SIZE_MAX / 2) {
        char *place = bytes < ENOUGH_FOR_ONE ? lf_page_take(bytes, &block->page)
                                             : take_large(isa, bytes, fit_l2, block);
        if (place)
            return place; /* or else there is no large page to be had */
    }
    return block->memory = lf_alloc_zeroed(bytes);
}

void lf_free_weights(const lf_block *block) {
    free(block->memory);
    if (block->large)
        lf_free_large(block->large, block->large_bytes);
    if (block->page)
        lf_page_give_back(block->page);
}
