/* Memory for states and for weights. */
#ifndef LF_MEMORY_H
#define LF_MEMORY_H

#include <stddef.h>

#include "../layout.h"

/* Aligned to LF_ALIGNMENT, zeroed; null when there is none. Give back with lf_free, which takes null, too. */
void *lf_alloc_zeroed(size_t bytes);
void lf_free(void *memory);

/* As that, of any content. bytes: a multiple of the alignment, which is a power of two. */
void *lf_alloc_aligned(size_t alignment, size_t bytes);

/* What weights are in: memory of their own, large pages of their own, or a part of one that is shared. The
 * others are null. */
typedef struct lf_page lf_page;
typedef struct lf_block {
    void *memory;
    char *large;
    size_t large_bytes;
    lf_page *page;
} lf_block;

/* Zeroed memory for weights, somewhere in *block, which is what is given back; null when there is none. fits_l2: they
 * should stay in L2, so a placement is searched for those that have a large page of their own, unless LSTM_FAST_PLACEMENT is 0 in the environment. */
char *lf_alloc_weights(size_t bytes, int fits_l2, lf_block *block);
void lf_free_weights(const lf_block *block);

/* placement.c: of the placements of `bytes` in memory[0 .. whole - 1] the one that is read most quickly after
 * LF_PLACEMENT_OTHERS bytes beside it. read: null, but for tests. */
typedef void (*lf_reader)(const char *memory, size_t bytes);
char *lf_quickest_placement(lf_reader read, char *memory, size_t whole, size_t bytes);
int lf_searches_placement(void);

/* large.c. Large pages where the system has them, aligned to one, of any content; null when there is no memory.
 * bytes: a multiple of a large page, and the same when they are given back. */
#define LF_LARGE_PAGE ((size_t)2 << 20)
void *lf_alloc_large(size_t bytes);
void lf_free_large(void *memory, size_t bytes);

/* shared.c. A part of a large page that others have parts of, zeroed, of at most LF_LARGE_PAGE bytes. */
char *lf_page_take(size_t bytes, lf_page **page);
void lf_page_give_back(lf_page *page);

#endif
