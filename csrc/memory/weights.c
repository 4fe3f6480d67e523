#include <string.h>

#include "../tuning.h"
#include "memory.h"

/* The address sanitizer knows where an allocation of the C library ends, but not where a part of a page does. */
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

static char *take_large(size_t bytes, int fits_l2, lf_block *block) {
    const size_t whole = lf_round_up(bytes, LF_LARGE_PAGE);
    const int searches = fits_l2 && lf_searches_placement();
    char *memory = lf_alloc_large(whole);
    if (!memory)
        return NULL;
    block->large = memory;
    block->large_bytes = whole;
    /* what was never touched is read from the one page of zeros, which is quick */
    memset(memory, 0, searches ? whole : bytes);
    return searches ? lf_quickest_placement(NULL, memory, whole, bytes) : memory;
}

/*
 * Weights get large pages where the system has them: without, a cold step looks up a page every 4 KiB, and
 * which small pages one draws decides how well they share the cache. Those that fill a good part of one
 * have it to themselves, smaller ones share one with others. The few small pages of what is tiny are no
 * trouble.
 */
char *lf_alloc_weights(size_t bytes, int fits_l2, lf_block *block) {
    *block = (lf_block){0};
    if (LARGE_PAGES && bytes >= LF_LARGE_PAGE_SHARED && bytes <= SIZE_MAX / 2) {
        char *weights = bytes < LF_LARGE_PAGE_ALONE ? lf_page_take(bytes, &block->page)
                                                    : take_large(bytes, fits_l2, block);
        if (weights)
            return weights; /* or else there is no large page to be had */
    }
    return block->memory = lf_alloc_zeroed(bytes);
}

void lf_free_weights(const lf_block *block) {
    lf_free(block->memory);
    if (block->large)
        lf_free_large(block->large, block->large_bytes);
    if (block->page)
        lf_page_give_back(block->page);
}
