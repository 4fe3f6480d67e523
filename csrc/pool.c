/* Many sessions in one block of memory: who may use which slot, and when. */
#include <string.h>
#include <time.h>
#if !defined(_WIN32)
#include <sched.h>
#endif

#include "pool.h"

/*
 * Handles: the low 24 bits are the slot, the next 39 a serial number of the process, multiplied by an odd
 * constant. That keeps every one different from every other and makes neighbours in time differ in most
 * bits, so a mistaken handle is found out. (It is no defence against an attacker.) The top bit stays
 * 0: NumPy makes floats of a list of integers of which only some need 64 bits.
 */
#define SLOT_BITS 24
#define SERIAL_MASK ((1ull << 39) - 1)
#define SERIAL_FACTOR 0x5E3779B97Bull

static atomic_ullong serials;

/* Where a process begins is left to chance, so that a handle from before a restart is stale, too. */
void lf_seed_handles(const void *anything) {
    unsigned long long none = 0;
    struct timespec now = {0, 0};
    (void)timespec_get(&now, TIME_UTC);
    const unsigned long long seed = (unsigned long long)now.tv_nsec * 0xBF58476D1CE4E5B9ull ^
                                    (unsigned long long)now.tv_sec * 0x94D049BB133111EBull ^
                                    (unsigned long long)(uintptr_t)anything;
    atomic_compare_exchange_strong(&serials, &none, seed | 1);
}

static unsigned long long new_handle(size_t index) {
    unsigned long long handle;
    do
        handle = (atomic_fetch_add(&serials, 1) * SERIAL_FACTOR & SERIAL_MASK) << SLOT_BITS | index;
    while (handle <= LF_LAST_OWNER); /* those stand for who uses a session */
    return handle;
}

static size_t slot_index(unsigned long long handle) {
    return handle & (((size_t)1 << SLOT_BITS) - 1);
}

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

static void arrive(lf_pool *pool) {
    if (atomic_load_explicit(&pool->process, memory_order_acquire) != lf_process())
        lf_pool_mend(pool);
}

/* Calls in progress are counted; grow waits for none: it takes the pool only when there are none. */
int lf_pool_enter(lf_pool *pool) {
    arrive(pool);
    if (atomic_fetch_add_explicit(&pool->users, 1, memory_order_acquire) >= 0)
        return 1;
    atomic_fetch_sub_explicit(&pool->users, 1, memory_order_relaxed);
    return 0;
}

/* For what can't be refused: after it has grown. */
static void enter_in_time(lf_pool *pool) {
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
    arrive(pool);
    return atomic_compare_exchange_strong_explicit(&pool->users, &none, GROWING,
                                                   memory_order_acquire, memory_order_relaxed);
}

void lf_pool_leave_alone(lf_pool *pool) {
    atomic_fetch_sub_explicit(&pool->users, GROWING, memory_order_release);
}

/* ---- slots ---- */

/* Takes the session for `owner`; on LF_OK it is to be released. */
static lf_status claim(lf_pool *pool, unsigned long long handle, uint32_t owner, lf_slot **result) {
    const size_t index = slot_index(handle);
    if (handle <= LF_LAST_OWNER ||
        index >= pool->room.capacity) /* a made-up one must not pass for a user */
        return LF_ERR_HANDLE;
    lf_slot *slot = &pool->room.slots[index];
    unsigned long long found = handle; /* so a stale handle never gets in, not for a moment */
    if (atomic_compare_exchange_strong_explicit(&slot->key, &found, owner, memory_order_acquire,
                                                memory_order_relaxed)) {
        *result = slot;
        return LF_OK;
    }
    if (!found || found > LF_LAST_OWNER ||
        atomic_load_explicit(&slot->handle, memory_order_relaxed) != handle)
        return LF_ERR_HANDLE;
    if (found != LF_TORN)
        return found == owner ? LF_ERR_REPEATED : LF_ERR_BUSY;
    if (owner != LF_ALONE) /* which writes a whole state, or closes */
        return LF_ERR_FORKED;
    *result = slot;
    return atomic_compare_exchange_strong_explicit(&slot->key, &found, owner, memory_order_acquire,
                                                   memory_order_relaxed)
               ? LF_OK
               : LF_ERR_BUSY;
}

static void release(lf_slot *slot) {
    const unsigned long long handle = atomic_load_explicit(&slot->handle, memory_order_relaxed);
    atomic_store_explicit(&slot->key, handle, memory_order_release);
}

static void release_many(lf_pool *pool, uint32_t first, size_t count) {
    for (; count; count--) {
        lf_slot *slot = &pool->room.slots[first];
        first = slot->next;
        release(slot);
    }
}

/* All or none of them, for claims->owner. */
lf_status lf_pool_claim_all(lf_pool *pool, const unsigned long long *handles, size_t count,
                            lf_claim *claims, size_t *bad) {
    uint32_t *link = &claims->first;
    claims->first = LF_NONE;
    claims->count = count;
    claims->prepared = 0;
    for (size_t n = 0; n < count; n++) {
        lf_slot *slot;
        const lf_status status = claim(pool, handles[n], claims->owner, &slot);
        if (status != LF_OK) {
            release_many(pool, claims->first, n);
            if (bad)
                *bad = n;
            return status;
        }
        *link = (uint32_t)(slot - pool->room.slots);
        link = &slot->next;
        claims->prepared += slot->prepared != LF_NONE;
    }
    return LF_OK;
}

void lf_pool_release_all(lf_pool *pool, const lf_claim *claims) {
    release_many(pool, claims->first, claims->count);
}

/* ---- what is open ---- */

size_t lf_pool_capacity(lf_pool *pool) {
    enter_in_time(pool);
    const size_t capacity = pool->room.capacity;
    lf_pool_leave(pool, LF_OK);
    return capacity;
}

size_t lf_pool_open_count(lf_pool *pool) {
    arrive(pool);
    lf_pool_lock(pool);
    const size_t count = pool->open_count;
    lf_pool_unlock(pool);
    return count;
}

size_t lf_pool_handles(lf_pool *pool, unsigned long long *handles, size_t most) {
    size_t count = 0;
    enter_in_time(pool);
    for (size_t n = 0; n < pool->room.capacity; n++) {
        const unsigned long long handle = atomic_load(&pool->room.slots[n].handle);
        if (handle && count++ < most)
            handles[count - 1] = handle;
    }
    lf_pool_leave(pool, LF_OK);
    return count;
}

int lf_pool_is_open(lf_pool *pool, unsigned long long handle) {
    const size_t index = slot_index(handle);
    enter_in_time(pool);
    const int open = handle && index < pool->room.capacity &&
                     atomic_load(&pool->room.slots[index].handle) == handle;
    lf_pool_leave(pool, LF_OK);
    return open;
}

/* ---- single sessions ---- */

/* A session that starts from h and c, or from where sessions start if these are null. */
static lf_status open_from(lf_pool *pool, const float *h, const float *c,
                           unsigned long long *handle) {
    if (!lf_pool_enter(pool))
        return LF_ERR_BUSY;
    lf_pool_lock(pool);
    const uint32_t index = pool->free_slot;
    if (index != LF_NONE) {
        pool->free_slot = pool->room.slots[index].next;
        pool->open_count++;
    }
    lf_pool_unlock(pool);
    if (index == LF_NONE)
        return lf_pool_leave(pool, LF_ERR_FULL);
    lf_slot *slot = &pool->room.slots[index];
    if (h)
        lf_state_write(pool->model, lf_slot_state(pool, slot), lf_slot_c(pool, slot), h, c);
    else
        lf_state_start(pool->model, lf_slot_state(pool, slot), lf_slot_c(pool, slot));
    *handle = new_handle(index);
    atomic_store_explicit(&slot->handle, *handle, memory_order_relaxed);
    release(slot);
    return lf_pool_leave(pool, LF_OK);
}

lf_status lf_pool_open(lf_pool *pool, unsigned long long *handle) {
    return pool && handle ? open_from(pool, NULL, NULL, handle) : LF_ERR_ARGUMENT;
}

lf_status lf_pool_restore(lf_pool *pool, const void *bytes, size_t size,
                          unsigned long long *handle) {
    const float *h, *c;
    if (!pool || !handle)
        return LF_ERR_ARGUMENT;
    const lf_status status = lf_snapshot_read(pool->model, bytes, size, &h, &c);
    return status == LF_OK ? open_from(pool, h, c, handle) : status;
}

/* Enters, and takes one session as LF_ALONE, and perhaps LF_LOOKS; on LF_OK done_with must follow. */
static lf_status use_one(lf_pool *pool, unsigned long long handle, uint32_t owner, lf_slot **slot) {
    if (!pool)
        return LF_ERR_ARGUMENT;
    if (!lf_pool_enter(pool))
        return LF_ERR_BUSY;
    const lf_status status = claim(pool, handle, owner, slot);
    if (status == LF_ERR_REPEATED) /* by another call of this kind */
        return lf_pool_leave(pool, LF_ERR_BUSY);
    return status == LF_OK ? LF_OK : lf_pool_leave(pool, status);
}

static lf_status done_with(lf_pool *pool, lf_slot *slot) {
    release(slot);
    return lf_pool_leave(pool, LF_OK);
}

static void zero(lf_pool *pool, lf_slot *slot) {
    lf_pool_drop(pool, slot);
    memset(lf_slot_state(pool, slot), 0, pool->state_floats * sizeof(float));
}

lf_status lf_pool_close(lf_pool *pool, unsigned long long handle) {
    lf_slot *slot;
    const lf_status status = use_one(pool, handle, LF_ALONE, &slot);
    if (status != LF_OK)
        return status;
    zero(pool, slot);
    atomic_store_explicit(&slot->handle, 0, memory_order_relaxed);
    release(slot);
    lf_pool_lock(pool);
    slot->next = pool->free_slot;
    pool->free_slot = (uint32_t)(slot - pool->room.slots);
    pool->open_count--;
    lf_pool_unlock(pool);
    return lf_pool_leave(pool, LF_OK);
}

lf_status lf_pool_reset(lf_pool *pool, unsigned long long handle) {
    lf_slot *slot;
    const lf_status status = use_one(pool, handle, LF_ALONE, &slot);
    if (status != LF_OK)
        return status;
    zero(pool, slot);
    lf_state_start(pool->model, lf_slot_state(pool, slot), lf_slot_c(pool, slot));
    return done_with(pool, slot);
}

lf_status lf_pool_get_state_f32(lf_pool *pool, unsigned long long handle, float *h, float *c) {
    lf_slot *slot;
    if (!h || !c)
        return LF_ERR_ARGUMENT;
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
    if (!h || !c)
        return LF_ERR_ARGUMENT;
    const lf_status status = use_one(pool, handle, LF_ALONE, &slot);
    if (status != LF_OK)
        return status;
    lf_pool_drop(pool, slot);
    lf_state_write(pool->model, lf_slot_state(pool, slot), lf_slot_c(pool, slot), h, c);
    return done_with(pool, slot);
}
