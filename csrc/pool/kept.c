/* Prepared halves. */
#include <string.h>

#include "pool.h"

int lf_pool_keep(lf_pool *pool, lf_slot *slot) {
    lf_pool_lock(pool);
    const uint32_t at = pool->free_prepared;
    if (at != LF_NONE)
        pool->free_prepared = pool->next_prepared[at];
    lf_pool_unlock(pool);
    slot->prepared = at;
    return at != LF_NONE;
}

void lf_pool_drop(lf_pool *pool, lf_slot *slot) {
    if (slot->prepared == LF_NONE)
        return;
    memset(lf_slot_kept(pool, slot), 0, pool->kept_floats * sizeof(float));
    lf_pool_lock(pool);
    pool->next_prepared[slot->prepared] = pool->free_prepared;
    pool->free_prepared = slot->prepared;
    lf_pool_unlock(pool);
    slot->prepared = LF_NONE;
}
