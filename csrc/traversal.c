#include "traversal.h"

#include "cpu/cpu.h"

/* Elsewhere in glibc a thread's first look at it would allocate, in the middle of a step. */
#if defined(__GLIBC__)
#define THREAD_LOCAL _Thread_local __attribute__((tls_model("initial-exec")))
#else
#define THREAD_LOCAL _Thread_local
#endif

/* A thread's, not a stream's: what the caches hold is what this thread has read last, and it may have
 * stepped other streams since. */
static THREAD_LOCAL struct {
    uint64_t start;
    int descending;
} last_pass;

lf_traversal lf_next_traversal(uint64_t hot_gap) {
    lf_traversal next = {0, 0};
    if (hot_gap) {
        const uint64_t now = lf_ticks();
        next.is_hot = now - last_pass.start < hot_gap;
        next.descending = last_pass.descending = next.is_hot && !last_pass.descending;
        last_pass.start = now;
    }
    return next;
}

lf_traversal lf_next_traversal_at_once(uint64_t hot_gap) {
    lf_traversal next = {0, 0};
    if (hot_gap) {
        next.is_hot = 1;
        next.descending = last_pass.descending = !last_pass.descending;
    }
    return next;
}
