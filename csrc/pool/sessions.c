/* Calls on a single session: it is opened, reset, saved, closed. */
#include <string.h>

#include "../snapshot.h"
#include "../state.h"
#include "pool.h"

/* Its state is what sessions start from. */
static void start(lf_pool *pool, lf_slot *slot) {
    const lf_plan *const plan = pool->model->plan;
    if (plan)
        memcpy(lf_slot_state(pool, slot), plan->initial, plan->state_bytes);
    else
        lf_state_start(pool->model, lf_slot_state(pool, slot), lf_slot_c(pool, slot));
}

/* A session that starts from the values of a snapshot, or from where sessions start if these are null. */
static lf_status open_from(lf_pool *pool, const void *values, unsigned long long *handle) {
    if (!lf_pool_enter(pool))
        return LF_ERR_BUSY;
    const uint32_t index = lf_take_place(&pool->free_slots, lf_slot_links(pool));
    if (index == LF_NONE)
        return lf_pool_leave(pool, LF_ERR_FULL);
    atomic_fetch_add_explicit(&pool->open_count, 1, memory_order_relaxed);
    lf_slot *slot = &pool->room.slots[index];
    if (values)
        lf_snapshot_take(pool->model, values, lf_slot_state(pool, slot), lf_slot_c(pool, slot));
    else
        start(pool, slot);
    *handle = lf_new_handle(index);
    atomic_store_explicit(&slot->handle, *handle, memory_order_relaxed);
    lf_slot_release(slot);
    return lf_pool_leave(pool, LF_OK);
}

lf_status lf_pool_open(lf_pool *pool, unsigned long long *handle) {
    return pool && handle ? open_from(pool, NULL, handle) : LF_ERR_ARGUMENT;
}

lf_status lf_pool_restore(lf_pool *pool, const void *bytes, size_t size,
                          unsigned long long *handle) {
    const void *values;
    if (!pool || !handle)
        return LF_ERR_ARGUMENT;
    const lf_status status = lf_snapshot_read(pool->model, bytes, size, &values);
    return status == LF_OK ? open_from(pool, values, handle) : status;
}

/* Enters, and takes one session as LF_ALONE, and perhaps LF_LOOKS or LF_ENDS; on LF_OK done_with must follow. */
static lf_status use_one(lf_pool *pool, unsigned long long handle, uint32_t owner, lf_slot **slot) {
    if (!pool)
        return LF_ERR_ARGUMENT;
    if (!lf_pool_enter(pool))
        return LF_ERR_BUSY;
    const lf_status status = lf_pool_claim(pool, handle, owner, slot);
    if (status == LF_ERR_REPEATED) /* by another call of this kind */
        return lf_pool_leave(pool, LF_ERR_BUSY);
    return status == LF_OK ? LF_OK : lf_pool_leave(pool, status);
}

static lf_status done_with(lf_pool *pool, lf_slot *slot) {
    lf_slot_release(slot);
    return lf_pool_leave(pool, LF_OK);
}

static void zero(lf_pool *pool, lf_slot *slot) {
    lf_pool_drop(pool, slot);
    memset(lf_slot_state(pool, slot), 0, pool->slot_floats * sizeof(float));
}

lf_status lf_pool_close(lf_pool *pool, unsigned long long handle) {
    lf_slot *slot;
    const lf_status status = use_one(pool, handle, LF_ALONE | LF_ENDS, &slot);
    if (status != LF_OK)
        return status;
    zero(pool, slot);
    atomic_store_explicit(&slot->handle, 0, memory_order_relaxed);
    lf_slot_release(slot);
    atomic_fetch_sub_explicit(&pool->open_count, 1, memory_order_relaxed);
    lf_give_place(&pool->free_slots, lf_slot_links(pool), (uint32_t)(slot - pool->room.slots));
    return lf_pool_leave(pool, LF_OK);
}

lf_status lf_pool_reset(lf_pool *pool, unsigned long long handle) {
    lf_slot *slot;
    const lf_status status = use_one(pool, handle, LF_ALONE, &slot);
    if (status != LF_OK)
        return status;
    zero(pool, slot);
    start(pool, slot);
    return done_with(pool, slot);
}

lf_status lf_pool_get_state_f32(lf_pool *pool, unsigned long long handle, float *h, float *c) {
    lf_slot *slot;
    if (!pool || !h || !c)
        return LF_ERR_ARGUMENT;
    if (pool->model->plan)
        return LF_ERR_KIND;
    const lf_status status = use_one(pool, handle, LF_ALONE | LF_LOOKS, &slot);
    if (status != LF_OK)
        return status;
    lf_state_read(pool->model, lf_slot_state(pool, slot), lf_slot_c(pool, slot), h, c);
    return done_with(pool, slot);
}

lf_status lf_pool_snapshot(lf_pool *pool, unsigned long long handle, void *bytes, size_t size) {
    lf_slot *slot;
    if (!pool)
        return LF_ERR_ARGUMENT;
    lf_status status = lf_snapshot_check_room(pool->model, bytes, size);
    if (status == LF_OK)
        status = use_one(pool, handle, LF_ALONE | LF_LOOKS, &slot);
    if (status != LF_OK)
        return status;
    lf_snapshot_write(pool->model, lf_slot_state(pool, slot), lf_slot_c(pool, slot), bytes);
    return done_with(pool, slot);
}

lf_status lf_pool_set_state_f32(lf_pool *pool, unsigned long long handle, const float *h,
                                const float *c) {
    lf_slot *slot;
    if (!pool || !h || !c)
        return LF_ERR_ARGUMENT;
    if (pool->model->plan)
        return LF_ERR_KIND;
    const lf_status status = use_one(pool, handle, LF_ALONE, &slot);
    if (status != LF_OK)
        return status;
    lf_pool_drop(pool, slot);
    lf_state_write(pool->model, lf_slot_state(pool, slot), lf_slot_c(pool, slot), h, c);
    return done_with(pool, slot);
}

lf_status lf_pool_get_states(lf_pool *pool, unsigned long long handle, void *const *states) {
    lf_slot *slot;
    if (!pool || !states ||
        !lf_all_are_given((const void *const *)states, pool->model->values.state_count))
        return LF_ERR_ARGUMENT;
    if (!pool->model->plan)
        return lf_pool_get_state_f32(pool, handle, states[0], states[1]);
    const lf_status status = use_one(pool, handle, LF_ALONE | LF_LOOKS, &slot);
    if (status != LF_OK)
        return status;
    lf_states_read(pool->model, (const char *)lf_slot_state(pool, slot), states);
    return done_with(pool, slot);
}

lf_status lf_pool_set_states(lf_pool *pool, unsigned long long handle, const void *const *states) {
    lf_slot *slot;
    if (!pool || !states || !lf_all_are_given(states, pool->model->values.state_count))
        return LF_ERR_ARGUMENT;
    if (!pool->model->plan)
        return lf_pool_set_state_f32(pool, handle, states[0], states[1]);
    const lf_status status = use_one(pool, handle, LF_ALONE, &slot);
    if (status != LF_OK)
        return status;
    lf_pool_drop(pool, slot);
    lf_states_write(pool->model, (char *)lf_slot_state(pool, slot), states);
    return done_with(pool, slot);
}
