/* Where weights are put, and that all of it is theirs. */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "memory/memory.h"

static void test_weights(void) {
    static const size_t sizes[] = {64,        16 << 10, 100 << 10,     256 << 10,
                                   525 << 10, 2 << 20,  (2 << 20) + 64};
    for (size_t n = 0; n < sizeof sizes / sizeof *sizes; n++) {
        lf_block block;
        char *weights = lf_alloc_weights(sizes[n], &block);
        CHECK(weights && (uintptr_t)weights % LF_ALIGNMENT == 0);
        CHECK(!!block.memory + !!block.large + !!block.page == 1);
        CHECK(!block.memory || weights == block.memory);
        CHECK(!block.large || weights == block.large);
        CHECK(!block.large || sizes[n] <= block.large_bytes);
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
    test_weights();
    return check_failures("memory");
}
