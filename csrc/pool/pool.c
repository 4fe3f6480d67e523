/* Makes, grows and frees a pool, and says what is in it. */
#include <stdlib.h>
#include <string.h>

#include "../anywhere.h"
#include "pool.h"

/* From the first one on; they are in the room, but in no list yet. */
static void add_slots(lf_pool *pool, size_t first) {
    lf_give_places(&pool->free_slots, lf_slot_links(pool), first, pool->room.capacity);
}

/* A fork finds this not begun, or all that is needed to do it again. */
static void move_to(lf_pool *pool, const lf_pool_room *room) {
    pool->next_room = *room;
    atomic_store_explicit(&pool->is_moving, 1, memory_order_release);
    pool->room = *room;
    atomic_store_explicit(&pool->is_moving, 0, memory_order_release);
}

static void forget(const lf_pool_room *room, size_t bytes) {
    if (room->states) {
        memset(room->states, 0, bytes); /* leaves no session's state behind, */
        LF_KEEP_STORES(room->states);   /* though nobody will read that */
    }
    lf_free(room->slots);
    lf_free(room->states);
}

lf_status lf_pool_grow(lf_pool *pool, size_t more) {
    if (!pool)
        return LF_ERR_ARGUMENT;
    if (!lf_pool_enter_alone(pool))
        return LF_ERR_BUSY;
    const lf_pool_room old = pool->room;
    lf_status status =
        more > LF_MAX_CAPACITY - old.capacity ||
                more > SIZE_MAX / 8 / sizeof(float) / pool->slot_floats - old.capacity
            ? LF_ERR_SHAPE
            : LF_OK;
    if (status == LF_OK && more) {
        const size_t capacity = old.capacity + more;
        const size_t old_bytes = lf_state_at(pool, old.capacity) * sizeof(float);
        const lf_pool_room room = {
            .capacity = capacity,
            .slots = lf_alloc_zeroed(capacity * sizeof *room.slots),
            .states = lf_alloc_zeroed(lf_state_at(pool, capacity) * sizeof(float)),
        };
        if (room.slots && room.states) {
            if (old.capacity) {
                memcpy(room.slots, old.slots, old.capacity * sizeof *room.slots);
                memcpy(room.states, old.states, old_bytes);
            }
            for (size_t n = old.capacity; n < capacity; n++)
                room.slots[n].prepared = LF_NONE;
            move_to(pool, &room);
            add_slots(pool, old.capacity);
            forget(&old, old_bytes);
        } else {
            lf_free(room.slots);
            lf_free(room.states);
            status = LF_ERR_MEMORY;
        }
    }
    lf_pool_leave_alone(pool);
    return status;
}

lf_status lf_pool_create(const lf_model *model, size_t capacity, size_t prepared, size_t threads,
                         lf_pool **result) {
    if (!model || !result || !threads)
        return LF_ERR_ARGUMENT;
    if (!capacity || capacity > LF_MAX_CAPACITY || prepared > LF_MAX_CAPACITY || threads > 4096)
        return LF_ERR_SHAPE;
    const lf_plan *const plan = model->plan;
    const size_t kept = plan ? plan->kept_bytes / sizeof(float)
                             : LF_GATES * model->num_layers * model->padded_hidden;
    if (kept && prepared > SIZE_MAX / 4 / sizeof(float) / kept)
        return LF_ERR_SHAPE;
    prepared = kept ? prepared : 0;
    lf_pool *pool = calloc(1, sizeof *pool);
    if (!pool)
        return LF_ERR_MEMORY;
    lf_seed_handles(pool);
    pool->model = model;
    pool->engine = lf_engine_of(model);
    atomic_store(&pool->process, lf_process());
    pool->threads = threads;
    pool->prepared = prepared;
    lf_empty_list(&pool->free_slots);
    lf_empty_list(&pool->free_prepared);
    pool->state_floats =
        plan ? plan->state_bytes / sizeof(float)
             : lf_round_up(lf_h_floats(model) + lf_c_floats(model), LF_ALIGNMENT / sizeof(float));
    pool->slot_floats = (plan && plan->can_fail ? 2 : 1) * pool->state_floats;
    pool->most = plan ? plan->sessions_a_pass : LF_BATCH_SESSIONS;
    pool->kept_floats = lf_round_up(kept, LF_ALIGNMENT / sizeof(float));
    pool->next_prepared = malloc((prepared + 1) * sizeof *pool->next_prepared);
    pool->kept = lf_alloc_zeroed((prepared * pool->kept_floats + 1) * sizeof(float));
    pool->work = lf_work_create(model, threads, &pool->work_bytes);
    lf_status status = LF_ERR_MEMORY;
    if (pool->next_prepared && pool->kept && pool->work) {
        lf_give_places(&pool->free_prepared, lf_kept_links(pool), 0, prepared);
        status = lf_pool_grow(pool, capacity);
    }
    if (status != LF_OK) {
        lf_pool_destroy(pool);
        return status;
    }
    *result = pool;
    return LF_OK;
}

void lf_pool_destroy(lf_pool *pool) {
    if (!pool)
        return;
    lf_free(pool->room.slots);
    lf_free(pool->room.states);
    lf_free(pool->kept);
    free(pool->next_prepared);
    lf_free(pool->work);
    free(pool);
}

size_t lf_pool_bytes(lf_pool *pool) {
    if (!pool)
        return 0;
    const size_t capacity = lf_pool_capacity(pool);
    const size_t states = lf_state_at(pool, capacity) * sizeof(float);
    const size_t kept = sizeof *pool->next_prepared + pool->kept_floats * sizeof(float);
    return sizeof *pool + capacity * sizeof(lf_slot) + states + pool->prepared * kept +
           pool->work_bytes;
}

size_t lf_pool_capacity(lf_pool *pool) {
    if (!pool)
        return 0;
    lf_pool_enter_in_time(pool);
    const size_t capacity = pool->room.capacity;
    lf_pool_leave(pool, LF_OK);
    return capacity;
}

size_t lf_pool_open_count(lf_pool *pool) {
    if (!pool)
        return 0;
    lf_pool_arrive(pool);
    return atomic_load_explicit(&pool->open_count, memory_order_relaxed);
}

size_t lf_pool_handles(lf_pool *pool, unsigned long long *handles, size_t most) {
    size_t count = 0;
    if (!pool)
        return 0;
    lf_pool_enter_in_time(pool);
    for (size_t n = 0; n < pool->room.capacity; n++) {
        const unsigned long long handle = atomic_load(&pool->room.slots[n].handle);
        if (handle && count++ < most && handles)
            lf_put_handle(handles, count - 1, handle);
    }
    lf_pool_leave(pool, LF_OK);
    return count;
}

int lf_pool_is_open(lf_pool *pool, unsigned long long handle) {
    const size_t index = lf_handle_slot(handle);
    if (!pool)
        return 0;
    lf_pool_enter_in_time(pool);
    const int open = handle && index < pool->room.capacity &&
                     atomic_load(&pool->room.slots[index].handle) == handle;
    lf_pool_leave(pool, LF_OK);
    return open;
}
