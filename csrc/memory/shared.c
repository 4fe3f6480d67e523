/*
 * Large pages for weights that are too small for one of their own: they lie side by side in one, each model
 * in a part of its own, and the page goes when the last of them does. Parts are never used twice, so a
 * model that stays keeps one page at most.
 */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"

/* As long as a row of the widest panel, float32 with AVX-512: see beside_weights in pool/work.c. */
#define APART ((size_t)8 * LF_ALIGNMENT)

struct lf_page {
    char *memory;         /* [LF_LARGE_PAGE] */
    size_t used;          /* for whoever has the page in hand */
    _Atomic size_t users; /* parts in it, one while it is current or in hand, and lookers-on */
};

/*
 * The page with room for more, or null. Whoever wants some takes the page away, and nobody else has it in
 * hand until it is put back. Who finds none there makes one; nobody waits, so neither a thread that is put to
 * sleep nor a fork meanwhile can stop anyone.
 */
static _Atomic(lf_page *) current;

static lf_page *create(void) {
    lf_page *page = malloc(sizeof *page);
    char *memory = page ? lf_alloc_large(LF_LARGE_PAGE) : NULL;
    if (!memory) {
        free(page);
        return NULL;
    }
    page->memory = memory;
    page->used = 0;
    atomic_init(&page->users, 1);
    return page;
}

/* Returns how many users are left; the last one frees it. */
static size_t leave(lf_page *page) {
    const size_t left = page ? atomic_fetch_sub(&page->users, 1) - 1 : 0;
    if (page && !left) {
        lf_free_large(page->memory, LF_LARGE_PAGE);
        free(page);
    }
    return left;
}

static lf_page *take_in_hand(void) { return atomic_exchange(&current, NULL); }

static void put_back(lf_page *page) { (void)leave(atomic_exchange(&current, page)); }

char *lf_page_take(size_t bytes, lf_page **result) {
    if (bytes > LF_LARGE_PAGE)
        return NULL;
    bytes = lf_round_up(bytes, APART);
    lf_page *page = take_in_hand();
    if (!page || bytes > LF_LARGE_PAGE - page->used) {
        lf_page *fresh = create();
        if (!fresh) {
            put_back(page);
            return NULL;
        }
        (void)leave(page);
        page = fresh;
    }
    char *part = page->memory + page->used;
    page->used += bytes;
    atomic_fetch_add(&page->users, 1);
    put_back(page);
    *result = page;
    return memset(part, 0, bytes);
}

void lf_page_give_back(lf_page *page) {
    (void)leave(page);
    lf_page *last;
    do { /* again where the last part was given back meanwhile, and nothing was current */
        last = take_in_hand();
        if (!last)
            return; /* whoever has it in hand looks again */
        if (atomic_load(&last->users) == 1) {
            (void)leave(last); /* nobody has a part of it */
            return;
        }
        atomic_fetch_add(&last->users, 1); /* or it might be gone when it is looked at again */
        put_back(last);
    } while (leave(last) == 1);
}
