/*
 * Threads that are inside a call when the process forks are not there in the child, and what they had taken is never
 * given back. So whoever takes something leaves the number of the process, which is another one in the child; reading
 * it is a load. lf_watch_forks comes before that; 0: there is no memory for it.
 */
#ifndef LF_FORKS_H
#define LF_FORKS_H

#include <stdatomic.h>
#include <stdint.h>

extern _Atomic uint32_t lf_process_number; /* from 1 */
int lf_watch_forks(void);
static inline uint32_t lf_process(void) {
    return atomic_load_explicit(&lf_process_number, memory_order_relaxed);
}

#endif
