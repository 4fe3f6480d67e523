/* Who is inside a pool, so that it grows only while nobody is. */
#include "pool.h"

void lf_pool_arrive(lf_pool *pool) {
    if (atomic_load_explicit(&pool->process, memory_order_acquire) != lf_process())
        lf_pool_mend(pool);
}

/* Calls in progress are counted; grow waits for none: it takes the pool only when there are none. */
int lf_pool_enter(lf_pool *pool) {
    lf_pool_arrive(pool);
    if (atomic_fetch_add_explicit(&pool->users, 1, memory_order_acquire) >= 0)
        return 1;
    atomic_fetch_sub_explicit(&pool->users, 1, memory_order_relaxed);
    return 0;
}

/* For what can't be refused: after it has grown. */
void lf_pool_enter_in_time(lf_pool *pool) {
    while (!lf_pool_enter(pool))
        lf_wait_a_little();
}

lf_status lf_pool_leave(lf_pool *pool, lf_status status) {
    atomic_fetch_sub_explicit(&pool->users, 1, memory_order_release);
    return status;
}

/* A value of `users` that no number of calls can lift to 0. */
#define GROWING (INT32_MIN / 2)

int lf_pool_enter_alone(lf_pool *pool) {
    int32_t none = 0;
    lf_pool_arrive(pool);
    return atomic_compare_exchange_strong_explicit(&pool->users, &none, GROWING,
                                                   memory_order_acquire, memory_order_relaxed);
}

void lf_pool_leave_alone(lf_pool *pool) {
    atomic_fetch_sub_explicit(&pool->users, GROWING, memory_order_release);
}
