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

int lf_next_descends(uint64_t hot_gap) {
    if (!hot_gap)
        return 0;
    const uint64_t now = lf_ticks();
    const int is_hot = now - last_pass.start < hot_gap;
    last_pass.start = now;
    return last_pass.descending = is_hot && !last_pass.descending;
}

int lf_next_descends_at_once(uint64_t hot_gap) {
    return hot_gap ? last_pass.descending = !last_pass.descending : 0;
}
