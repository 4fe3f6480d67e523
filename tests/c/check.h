/* Counts what fails and says where; a test program returns check_failures() from main. */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>

static int check_failed;

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            check_failed++;                                                                        \
            printf("%s:%d: %s\n", __FILE__, __LINE__, #condition);                                 \
        }                                                                                          \
    } while (0)

static inline int check_failures(const char *name) {
    printf("%s: %s\n", name, check_failed ? "failed" : "passed");
    return check_failed != 0;
}

#endif
