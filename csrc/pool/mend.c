/*
 * What a fork leaves of a pool. Any of the parent's threads may have been anywhere inside, and none of them is in
 * the child to give back what it had taken. The first call in the child puts all in order: what a thread had of
 * the pool itself is free again, and each session that it had is marked where its state may be half written.
 */
#include <string.h>

#include "../waits.h"
#include "pool.h"

static void mend_room(lf_pool *pool) {
    if (atomic_load(&pool->is_moving)) {
        pool->room = pool->next_room;
        atomic_store(&pool->is_moving, 0);
    }
}

/* One that was being opened or closed is closed: nobody in the child knows of it. */
static void mend_slot(lf_pool *pool, lf_slot *slot) {
    const unsigned long long handle = atomic_load(&slot->handle), key = atomic_load(&slot->key);
    if (key == handle)
        return;
    if (slot->prepared != LF_NONE) {
        memset(lf_slot_kept(pool, slot), 0, pool->kept_floats * sizeof(float));
        slot->prepared = LF_NONE;
    }
    const uint32_t owner = key <= LF_LAST_OWNER && key != LF_TORN ? (uint32_t)key : 0;
    if (!handle || !key || owner & LF_ENDS) {
        memset(lf_slot_state(pool, slot), 0, pool->slot_floats * sizeof(float));
        atomic_store(&slot->handle, 0);
        atomic_store(&slot->key, 0);
    } else {
        atomic_store(&slot->key, owner & LF_LOOKS ? handle : LF_TORN);
    }
}

/* Also counts what is open. */
static void mend_slots(lf_pool *pool) {
    size_t open_count = 0;
    lf_empty_list(&pool->free_slots);
    for (size_t n = pool->room.capacity; n-- > 0;) {
        lf_slot *slot = &pool->room.slots[n];
        mend_slot(pool, slot);
        if (atomic_load(&slot->handle))
            open_count++;
        else
            lf_give_place(&pool->free_slots, lf_slot_links(pool), (uint32_t)n);
    }
    atomic_store(&pool->open_count, open_count);
}

/* next_prepared is first where those that are in use are marked, then the list of the others. */
static void mend_prepared(lf_pool *pool) {
    for (size_t n = 0; n < pool->prepared; n++)
        lf_link_to(&pool->next_prepared[n], 0);
    for (size_t n = 0; n < pool->room.capacity; n++)
        if (pool->room.slots[n].prepared != LF_NONE)
            lf_link_to(&pool->next_prepared[pool->room.slots[n].prepared], LF_NONE);
    lf_empty_list(&pool->free_prepared);
    for (size_t n = pool->prepared; n-- > 0;)
        if (lf_linked(&pool->next_prepared[n]) != LF_NONE)
            lf_give_place(&pool->free_prepared, lf_kept_links(pool), (uint32_t)n);
}

/* May begin again anywhere: a fork may come in the middle of this, too. */
static void mend(lf_pool *pool) {
    mend_room(pool);
    mend_slots(pool);
    mend_prepared(pool);
    for (size_t n = 0; n < pool->threads; n++)
        atomic_flag_clear(&pool->work[n].taken);
    atomic_store(&pool->users, 0); /* nor is there anybody who waits */
}

void lf_pool_end_mending(lf_pool *pool) {
    atomic_store_explicit(&pool->process, lf_process(), memory_order_release);
    lf_wake_all(&pool->process);
}

void lf_pool_mend(lf_pool *pool) {
    const uint32_t now = lf_process();
    uint32_t found = atomic_load(&pool->mending);
    while (found != now)
        if (atomic_compare_exchange_weak(&pool->mending, &found, now)) {
            mend(pool);
            lf_pool_end_mending(pool);
            return;
        }
    uint32_t before;
    while ((before = atomic_load_explicit(&pool->process, memory_order_acquire)) != now)
        lf_sleep_while(&pool->process, before);
}
