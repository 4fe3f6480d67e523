/* Taking sessions for a call, and giving them back. */
#include "../anywhere.h"
#include "pool.h"

/* Takes the session for `owner`; on LF_OK it is to be released. */
lf_status lf_pool_claim(lf_pool *pool, unsigned long long handle, uint32_t owner,
                        lf_slot **result) {
    const size_t index = lf_handle_slot(handle);
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
    if (!(owner & LF_ALONE) || owner & LF_LOOKS) /* the others write a whole state, or closes */
        return LF_ERR_FORKED;
    *result = slot;
    return atomic_compare_exchange_strong_explicit(&slot->key, &found, owner, memory_order_acquire,
                                                   memory_order_relaxed)
               ? LF_OK
               : LF_ERR_BUSY;
}

void lf_slot_release(lf_slot *slot) {
    const unsigned long long handle = atomic_load_explicit(&slot->handle, memory_order_relaxed);
    atomic_store_explicit(&slot->key, handle, memory_order_release);
}

static void release_many(lf_pool *pool, uint32_t first, size_t count) {
    for (; count; count--) {
        lf_slot *slot = &pool->room.slots[first];
        first = lf_linked(&slot->next);
        lf_slot_release(slot);
    }
}

/* All or none of them, for claims->owner. */
lf_status lf_pool_claim_all(lf_pool *pool, const unsigned long long *handles, size_t count,
                            lf_claim *claims, size_t *bad) {
    lf_link *link = &claims->first;
    lf_link_to(link, LF_NONE);
    claims->count = count;
    claims->prepared = 0;
    for (size_t n = 0; n < count; n++) {
        lf_slot *slot;
        const lf_status status =
            lf_pool_claim(pool, lf_handle_at(handles, n), claims->owner, &slot);
        if (status != LF_OK) {
            release_many(pool, lf_linked(&claims->first), n);
            if (bad)
                *bad = n;
            return status;
        }
        lf_link_to(link, (uint32_t)(slot - pool->room.slots));
        link = &slot->next;
        claims->prepared += slot->prepared != LF_NONE;
    }
    return LF_OK;
}

void lf_pool_release_all(lf_pool *pool, const lf_claim *claims) {
    release_many(pool, lf_linked(&claims->first), claims->count);
}
