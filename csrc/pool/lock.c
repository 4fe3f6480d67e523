#if !defined(_WIN32)
#include <sched.h>
#endif

#include "pool.h"

/* For waits that are over in no time, unless whoever they are for has been put to sleep. */
void lf_wait_a_little(void) {
#if !defined(_WIN32)
    sched_yield();
#endif
}

/* Short, and never held while anything is computed. */
void lf_pool_lock(lf_pool *pool) {
    while (atomic_flag_test_and_set_explicit(&pool->lock, memory_order_acquire))
        lf_wait_a_little();
}

void lf_pool_unlock(lf_pool *pool) {
    atomic_flag_clear_explicit(&pool->lock, memory_order_release);
}
