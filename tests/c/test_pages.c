/*
 * Pages that small weights share: places are apart, zeroed and one's own whatever other threads do, and a
 * page goes with the last who has a place in it. Linked with --wrap=lf_alloc_large and --wrap=lf_free_large, so
 * that pages are counted.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "memory/memory.h"

enum { THREADS = 4, HELD = 12, TURNS = 3000 };

void *__real_lf_alloc_large(size_t bytes);
void *__wrap_lf_alloc_large(size_t bytes);
void __real_lf_free_large(void *memory, size_t bytes);
void __wrap_lf_free_large(void *memory, size_t bytes);

static _Atomic int live;
static _Atomic int fails; /* there are no large pages */

void *__wrap_lf_alloc_large(size_t bytes) {
    void *memory = atomic_load(&fails) ? NULL : __real_lf_alloc_large(bytes);
    CHECK(bytes == LF_LARGE_PAGE && (uintptr_t)memory % LF_LARGE_PAGE == 0);
    if (memory)
        atomic_fetch_add(&live, 1);
    return memory;
}

void __wrap_lf_free_large(void *memory, size_t bytes) {
    CHECK(memory && bytes == LF_LARGE_PAGE);
    atomic_fetch_sub(&live, 1);
    __real_lf_free_large(memory, bytes);
}

static int live_pages(void) { return atomic_load(&live); }

typedef struct place {
    char *memory;
    size_t bytes;
    lf_page *page;
} place;

/* Whether all of it is that byte. */
static int is_all(const place *p, char byte) {
    for (size_t n = 0; n < p->bytes; n++)
        if (p->memory[n] != byte)
            return 0;
    return 1;
}

static place take(size_t bytes) {
    place p = {.bytes = bytes};
    p.memory = lf_page_take(bytes, &p.page);
    CHECK(p.memory != NULL && (uintptr_t)p.memory % 512 == 0);
    return p;
}

static void test_one_thread(void) {
    enum { COUNT = 20 };
    place places[COUNT];
    CHECK(live_pages() == 0);
    for (size_t n = 0; n < COUNT; n++) {
        places[n] = take((size_t)40000 + n);
        CHECK(is_all(&places[n], 0));
        memset(places[n].memory, (int)n + 1, places[n].bytes);
    }
    CHECK(live_pages() == 1); /* all together, where there is room */
    for (size_t n = 0; n < COUNT; n++)
        CHECK(is_all(&places[n], (char)(n + 1)));
    place large = take(LF_LARGE_PAGE); /* which is in a page alone */
    CHECK(live_pages() == 2 && is_all(&large, 0));
    place after = take(1); /* in a third */
    CHECK(live_pages() == 3);
    lf_page *none = NULL;
    CHECK(lf_page_take(LF_LARGE_PAGE + 1, &none) == NULL && none == NULL);
    CHECK(lf_page_take(SIZE_MAX, &none) == NULL && none == NULL);
    atomic_store(&fails, 1);
    CHECK(lf_page_take(LF_LARGE_PAGE, &none) == NULL && none == NULL);
    place small = take(1); /* which needs no new one: the third is still current */
    atomic_store(&fails, 0);
    CHECK(live_pages() == 3);
    lf_page_give_back(small.page);
    lf_page_give_back(large.page);
    CHECK(live_pages() == 2);
    for (size_t n = 0; n < COUNT; n++) {
        CHECK(is_all(&places[n], (char)(n + 1)) && live_pages() == 2);
        lf_page_give_back(places[n].page);
    }
    CHECK(live_pages() == 1);
    lf_page_give_back(after.page);
    CHECK(live_pages() == 0);
    /* again and again the same needs no more */
    for (int n = 0; n < 200; n++) {
        place p = take(60000);
        CHECK(is_all(&p, 0) && live_pages() == 1);
        memset(p.memory, 7, p.bytes);
        lf_page_give_back(p.page);
    }
    CHECK(live_pages() == 0);
}

/* Weights that would share a page, or have their own, have plain memory where there is none. */
static void test_no_page(void) {
    static const size_t sizes[] = {(size_t)100 << 10, (size_t)600 << 10};
    for (size_t n = 0; n < sizeof sizes / sizeof *sizes; n++) {
        lf_block block;
        atomic_store(&fails, 1);
        char *weights = lf_alloc_weights(sizes[n], 1, &block);
        CHECK(weights && weights == block.memory && !block.large && !block.page);
        atomic_store(&fails, 0);
        lf_free_weights(&block);
        CHECK(live_pages() == 0);
    }
}

static pthread_barrier_t start;
static _Atomic int wrong;

/* Takes and gives back at random, and looks whether what it has holds what it has written. */
static void *work(void *number) {
    uint32_t random = (uint32_t)(uintptr_t)number;
    place held[HELD] = {{0}};
    char bytes[HELD] = {0};
    pthread_barrier_wait(&start);
    for (int turn = 0; turn < TURNS; turn++) {
        random = random * 1664525u + 1013904223u;
        const size_t n = (random >> 8) % HELD;
        if (held[n].memory) {
            wrong |= !is_all(&held[n], bytes[n]);
            lf_page_give_back(held[n].page);
            held[n].memory = NULL;
            continue;
        }
        held[n].bytes = (random >> 12) % 20000 + 1;
        held[n].memory = lf_page_take(held[n].bytes, &held[n].page);
        if (!held[n].memory) {
            wrong = 1;
            continue;
        }
        wrong |= !is_all(&held[n], 0);
        bytes[n] = (char)(random >> 24 | 1);
        memset(held[n].memory, bytes[n], held[n].bytes);
    }
    for (size_t n = 0; n < HELD; n++)
        if (held[n].memory) {
            wrong |= !is_all(&held[n], bytes[n]);
            lf_page_give_back(held[n].page);
        }
    return NULL;
}

static void test_threads(void) {
    pthread_t ids[THREADS];
    pthread_barrier_init(&start, NULL, THREADS);
    for (uintptr_t n = 0; n < THREADS; n++)
        if (pthread_create(&ids[n], NULL, work, (void *)(n + 1)) != 0) {
            printf("no thread\n"); /* for which the others would wait */
            exit(1);
        }
    for (int n = 0; n < THREADS; n++)
        CHECK(pthread_join(ids[n], NULL) == 0);
    pthread_barrier_destroy(&start);
    CHECK(wrong == 0 && live_pages() == 0);
}

int main(void) {
    test_one_thread();
    test_no_page();
    test_threads();
    return check_failures("pages");
}
