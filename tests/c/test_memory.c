/* Where weights are put, and that all of it is theirs. */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "cpu/cpu.h"
#include "memory/memory.h"
#include "tuning.h"

enum { SLOW = 1 << 20 }; /* ticks: far above what an interrupt takes, sixteen times in turn */

static const char *quick;
static size_t read_bytes;

/* A placement that is tried, and not what is read in between. */
static int is_placement(size_t bytes) {
    if (bytes == LF_PLACEMENT_OTHERS)
        return 0;
    read_bytes = bytes;
    return 1;
}

static void read_alone(const char *memory, size_t bytes) {
    const uint64_t start = lf_ticks();
    if (!is_placement(bytes))
        return;
    while (memory != quick && lf_ticks() - start < SLOW && lf_ticks())
        ;
}

/* quick is slow at first, all others later. */
static void read_late(const char *memory, size_t bytes) {
    static const char *last;
    static size_t pass;
    if (!is_placement(bytes))
        return;
    pass = memory == last ? pass + 1 : 0;
    last = memory;
    const uint64_t start = lf_ticks();
    while ((memory == quick) == (pass < 8) && lf_ticks() - start < SLOW && lf_ticks())
        ;
}

static const size_t page_bytes = (size_t)2 << 20;
static const char *page, *others;

/* All are quick by themselves, and quick alone after others, which are somewhere else in the page. */
static void read_among_others(const char *memory, size_t bytes) {
    CHECK(memory >= page && memory + bytes <= page + page_bytes);
    if (!is_placement(bytes)) {
        others = memory;
        return;
    }
    CHECK(!others || others >= memory + bytes || memory >= others + LF_PLACEMENT_OTHERS);
    const uint64_t start = lf_ticks();
    while (others && memory != quick && lf_ticks() - start < SLOW && lf_ticks())
        ;
    others = NULL;
}

/* Whichever of its placements of `bytes` is quick in the eyes of a reader is found. */
static void check_found(char *memory, lf_reader read, size_t bytes) {
    for (quick = memory; quick + bytes <= memory + page_bytes; quick += page_bytes / 4) {
        CHECK(lf_quickest_placement(read, memory, page_bytes, bytes) ==
              (lf_ticks() ? quick : memory));
        CHECK(!lf_ticks() || read_bytes == bytes);
    }
}

static void test_placements(void) {
    const size_t bytes = page_bytes / 4;
    char *memory = malloc(page_bytes);
    CHECK(memory != NULL);
    if (!memory)
        return;
    page = memory;
    check_found(memory, read_alone, bytes);
    check_found(memory, read_late, bytes);
    /* others are before the last placement, after the rest */
    check_found(memory, read_among_others, (size_t)900 << 10);
    /* no room for others */
    CHECK(lf_quickest_placement(read_among_others, memory, page_bytes,
                                page_bytes - LF_PLACEMENT_OTHERS / 2) == memory);
    /* a placement beyond the end is none */
    quick = memory + 3 * bytes;
    CHECK(lf_quickest_placement(read_alone, memory, page_bytes, bytes + LF_ALIGNMENT) != quick);
    CHECK(lf_quickest_placement(read_alone, memory, bytes, bytes) == memory);
    free(memory);
}

/* Instead of lf_quickest_placement where it is called: see test_c_core.py. */
static int searches;
char *__real_lf_quickest_placement(lf_reader read, char *memory, size_t whole, size_t bytes);
char *__wrap_lf_quickest_placement(lf_reader read, char *memory, size_t whole, size_t bytes);
char *__wrap_lf_quickest_placement(lf_reader read, char *memory, size_t whole, size_t bytes) {
    searches++;
    return __real_lf_quickest_placement(read, memory, whole, bytes);
}

static void test_weights(void) {
    static const size_t sizes[] = {64,        16 << 10, 100 << 10,     256 << 10,
                                   525 << 10, 2 << 20,  (2 << 20) + 64};
    for (size_t n = 0; n < sizeof sizes / sizeof *sizes; n++)
        for (int kind = 0; kind < 3; kind++) { /* too large for L2, searched, told not to search */
            lf_block block;
            CHECK(setenv("LSTM_FAST_PLACEMENT", kind == 2 ? "0" : "", 1) == 0);
            CHECK(lf_searches_placement() == (kind != 2));
            searches = 0;
            char *weights = lf_alloc_weights(sizes[n], kind > 0, &block);
            CHECK(searches == (block.large && kind == 1));
            CHECK(weights && (uintptr_t)weights % LF_ALIGNMENT == 0);
            CHECK(!!block.memory + !!block.large + !!block.page == 1);
            CHECK(!block.memory || weights == block.memory);
            CHECK(!block.large || weights >= block.large);
            CHECK(!block.large || kind == 1 || weights == block.large);
            CHECK(!block.large || weights + sizes[n] <= block.large + block.large_bytes);
            size_t zeros = 0;
            while (weights && zeros < sizes[n] && !weights[zeros])
                zeros++;
            CHECK(zeros == sizes[n]);
            if (weights)
                memset(weights, 1, sizes[n]); /* the sanitizer knows the end */
            lf_free_weights(&block);
        }
}

/* All of each can be used, whichever is given back first. */
static void test_large(void) {
    enum { COUNT = 4 };
    char *memory[COUNT] = {NULL};
    for (size_t turn = 0; turn < 3; turn++) {
        for (size_t n = 0; n < COUNT; n++) {
            memory[n] = lf_alloc_large((n + 1) * LF_LARGE_PAGE);
            CHECK(memory[n] && (uintptr_t)memory[n] % LF_LARGE_PAGE == 0);
            if (memory[n])
                memset(memory[n], (int)n + 1, (n + 1) * LF_LARGE_PAGE);
        }
        for (size_t k = 0; k < COUNT; k++) {
            const size_t n = (k + turn) % COUNT, bytes = (n + 1) * LF_LARGE_PAGE;
            if (!memory[n])
                continue;
            CHECK(memory[n][0] == (char)(n + 1) && !memcmp(memory[n], memory[n] + 1, bytes - 1));
            lf_free_large(memory[n], bytes);
        }
    }
    if (sizeof(size_t) == 8) /* or there may be as much */
        CHECK(lf_alloc_large(SIZE_MAX / 2 / LF_LARGE_PAGE * LF_LARGE_PAGE) == NULL);
}

int main(void) {
    test_large();
    test_placements();
    test_weights();
    return check_failures("memory");
}
