/* Where weights are put: the place that is read most quickly, whichever that is. */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "cpu.h"
#include "internal.h"

enum { SLOW = 1 << 20 }; /* ticks: far above what an interrupt takes, sixteen times in turn */

static const char *quick;
static size_t read_floats;

/* A place that is tried, and not what is read in between. */
static int is_place(size_t count) {
    if (count == LF_OTHERS / sizeof(float))
        return 0;
    read_floats = count;
    return 1;
}

static float probe_read(const float *values, size_t count) {
    const uint64_t start = lf_ticks();
    if (!is_place(count))
        return 0;
    while ((const char *)values != quick && lf_ticks() - start < SLOW && lf_ticks())
        ;
    return 0;
}

/* quick is slow at first, all others later. */
static float probe_late(const float *values, size_t count) {
    static const float *last;
    static size_t pass;
    if (!is_place(count))
        return 0;
    pass = values == last ? pass + 1 : 0;
    last = values;
    const uint64_t start = lf_ticks();
    while (((const char *)values == quick) == (pass < 8) && lf_ticks() - start < SLOW && lf_ticks())
        ;
    return (float)count;
}

static const size_t page_bytes = (size_t)2 << 20;
static const char *page, *others;

/* All are quick by themselves, and quick alone after others, which are somewhere else in the page. */
static float probe_among_others(const float *values, size_t count) {
    const char *const place = (const char *)values;
    const size_t bytes = count * sizeof(float);
    CHECK(place >= page && place + bytes <= page + page_bytes);
    if (!is_place(count)) {
        others = place;
        return 0;
    }
    CHECK(!others || others >= place + bytes || place >= others + LF_OTHERS);
    const uint64_t start = lf_ticks();
    while (others && place != quick && lf_ticks() - start < SLOW && lf_ticks())
        ;
    others = NULL;
    return 0;
}

/* Whichever of its places of `bytes` is quick in the eyes of a probe is found. */
static void check_found(char *memory, float (*probe)(const float *, size_t), size_t bytes) {
    const lf_isa isa = {.probe_read = probe};
    for (quick = memory; quick + bytes <= memory + page_bytes; quick += page_bytes / 4) {
        CHECK(lf_quickest_place(&isa, memory, page_bytes, bytes) == (lf_ticks() ? quick : memory));
        CHECK(read_floats == bytes / sizeof(float));
    }
}

static void test_places(void) {
    const lf_isa isa = {.probe_read = probe_read}, among = {.probe_read = probe_among_others};
    const size_t bytes = page_bytes / 4;
    char *memory = malloc(page_bytes);
    CHECK(memory != NULL);
    if (!memory)
        return;
    page = memory;
    check_found(memory, probe_read, bytes);
    check_found(memory, probe_late, bytes);
    /* others are before the last place, after the rest */
    check_found(memory, probe_among_others, (size_t)900 << 10);
    /* no room for others */
    CHECK(lf_quickest_place(&among, memory, page_bytes, page_bytes - LF_OTHERS / 2) == memory);
    /* a place beyond the end is none */
    quick = memory + 3 * bytes;
    CHECK(lf_quickest_place(&isa, memory, page_bytes, bytes + LF_ALIGNMENT) != quick);
    CHECK(lf_quickest_place(&isa, memory, bytes, bytes) == memory);
    free(memory);
}

static void test_weights(void) {
    static const size_t sizes[] = {64,        16 << 10, 100 << 10,     256 << 10,
                                   525 << 10, 2 << 20,  (2 << 20) + 64};
    for (size_t index = 0; index < lf_isa_count(); index++)
        for (size_t n = 0; n < sizeof sizes / sizeof *sizes; n++)
            for (int fit_l2 = 0; fit_l2 < 2; fit_l2++) {
                lf_block block;
                const lf_isa *isa = lf_isa_at(index);
                if (lf_isa_missing(index, 0) || !isa->probe_read) /* only_scalar.c has no others */
                    continue;
                char *weights = lf_alloc_weights(isa, sizes[n], fit_l2, &block);
                CHECK(weights && (uintptr_t)weights % LF_ALIGNMENT == 0);
                CHECK(!!block.memory + !!block.large + !!block.page == 1);
                CHECK(!block.memory || weights == block.memory);
                CHECK(!block.large || weights >= block.large);
                CHECK(!block.large ||
                      weights + sizes[n] <= block.large + (fit_l2 ? block.large_bytes : sizes[n]));
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
    test_places();
    test_weights();
    return check_failures("memory");
}
