/* Who is inside a pool, so that it grows only while nobody is. */
#include "../tuning.h"
#include "../waits.h"
#include "pool.h"

void lf_pool_arrive(lf_pool *pool) {
    if (atomic_load_explicit(&pool->process, memory_order_acquire) != lf_process())
        lf_pool_mend(pool);
}

/*
 * Calls in progress are counted in the lower half of `users`, and in the upper one those that wait for one of them to
 * leave. So who leaves finds in the number that it takes itself from whether somebody waits; and who has said there that
 * it waits, and then finds nothing that is free, will be woken.
 */
#define WAITS (INT64_C(1) << 32)

/* A value of `users` that no number of calls can lift to 0. */
#define GROWING (INT64_MIN / 2)

/* grow waits for none: it takes the pool only when there are none. */
int lf_pool_enter(lf_pool *pool) {
    lf_pool_arrive(pool);
    if (atomic_fetch_add_explicit(&pool->users, 1, memory_order_acquire) >= 0)
        return 1;
    atomic_fetch_sub_explicit(&pool->users, 1, memory_order_relaxed);
    return 0;
}

lf_status lf_pool_leave(lf_pool *pool, lf_status status) {
    if (atomic_fetch_sub_explicit(&pool->users, 1, memory_order_acq_rel) >= WAITS) {
        atomic_fetch_add_explicit(&pool->turn, 1, memory_order_release);
        lf_wake_one(&pool->turn); /* what one call has given back is enough for one */
    }
    return status;
}

int lf_pool_enter_alone(lf_pool *pool) {
    int64_t none = 0;
    lf_pool_arrive(pool);
    return atomic_compare_exchange_strong_explicit(&pool->users, &none, GROWING,
                                                   memory_order_acquire, memory_order_relaxed);
}

void lf_pool_leave_alone(lf_pool *pool) {
    if (atomic_fetch_sub_explicit(&pool->users, GROWING, memory_order_acq_rel) >= GROWING + WAITS) {
        atomic_fetch_add_explicit(&pool->turn, 1, memory_order_release);
        lf_wake_all(&pool->turn);
    }
}

/* Asleep for a moment at least, unless there is something to take; counted as long as it may be asleep. */
static uint32_t take_or_sleep(lf_pool *pool, uint32_t (*take)(lf_pool *pool)) {
    atomic_fetch_add_explicit(&pool->users, WAITS, memory_order_acq_rel);
    const uint32_t turn = atomic_load_explicit(&pool->turn, memory_order_acquire);
    const uint32_t taken = take(pool);
    if (!taken)
        lf_sleep_while(&pool->turn, turn);
    atomic_fetch_sub_explicit(&pool->users, WAITS, memory_order_relaxed);
    return taken;
}

uint32_t lf_pool_wait_for(lf_pool *pool, uint32_t (*take)(lf_pool *pool)) {
    const int awake = lf_everybody_gets_a_turn() ? LF_TURNS_AWAKE : LF_REAL_TIME_TURNS_AWAKE;
    for (int turns = 1;; turns++) {
        const int sleeps = turns % awake == 0;
        const uint32_t taken = sleeps ? take_or_sleep(pool, take) : take(pool);
        if (taken)
            return taken;
        if (!sleeps)
            lf_let_others_run();
    }
}

static uint32_t enter(lf_pool *pool) { return (uint32_t)lf_pool_enter(pool); }

/* For what can't be refused: after it has grown. */
void lf_pool_enter_in_time(lf_pool *pool) {
    if (!lf_pool_enter(pool))
        (void)lf_pool_wait_for(pool, enter);
}
