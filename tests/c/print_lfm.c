/*
 * Parses .lfm files, and says of each what there was, in one line: the status, and the program where it is one.
 *
 *   print_lfm < files      what there is in each of them
 *   print_lfm memory      only says whether each runs out of memory where there is none
 *   print_lfm table       the table of operations, and nothing of files
 *
 * Linked with --wrap=aligned_alloc. Of each file parsing must take no more memory than a few times the file, give all
 * of it back, and say so where it gets none.
 */
#include "files.h"
#include "lfm_text.h"
#include "program/check.h"

static size_t taken;
static int allowed; /* the allocation after these fails */

void *__real_aligned_alloc(size_t alignment, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);

void *__wrap_aligned_alloc(size_t alignment, size_t size) {
    taken += size;
    return allowed-- > 0 ? __real_aligned_alloc(alignment, size) : NULL;
}

/*
 * What parsing may take: the file; and for what is kept and what reading needs no more, for each byte of a record, than
 * for a tensor of two words. Each of 12 blocks may be rounded up to 64 bytes, one of them for the string that is always
 * known.
 */
static size_t bound(size_t size) {
    const size_t per_tensor = sizeof(lf_tensor) + sizeof(lf_fact);
    return size + per_tensor / 8 * size + 12 * (size_t)64;
}

static void parse(const unsigned char *bytes, size_t size) {
    lf_program *program;
    taken = 0;
    allowed = 3;
    const lf_status status = lf_program_parse(bytes, size, &program);
    printf("%d", (int)status);
    if (taken > bound(size))
        printf(" took %zu bytes for %zu", taken, size);
    if (status)
        printf("%s", program ? " and a program" : "");
    else
        print_program(program);
    lf_program_destroy(program);
    printf("\n");
}

/* Each allocation may fail. */
static int runs_out(const unsigned char *bytes, size_t size) {
    lf_program *program;
    for (int n = 0; n < 3; n++) {
        allowed = n;
        if (lf_program_parse(bytes, size, &program) != LF_ERR_MEMORY || program)
            return 0;
    }
    return 1;
}

int main(int count, char **arguments) {
    const char *const what = count > 1 ? arguments[1] : "";
    unsigned char *memory, *bytes;
    size_t size;
    if (strcmp(what, "table") == 0)
        print_table(1 << 16);
    while ((bytes = next_file(&memory, &size))) {
        if (strcmp(what, "memory") == 0)
            printf("%s\n", runs_out(bytes, size) ? "runs out" : "does not run out");
        else
            parse(bytes, size);
        free(memory);
    }
    return 0;
}
