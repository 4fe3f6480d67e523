/* Prepared halves. */
#include <string.h>

#include "pool.h"

int lf_pool_keep(lf_pool *pool, lf_slot *slot) {
    slot->prepared = lf_take_place(&pool->free_prepared, lf_kept_links(pool));
    return slot->prepared != LF_NONE;
}

void lf_pool_drop(lf_pool *pool, lf_slot *slot) {
    if (slot->prepared == LF_NONE)
        return;
    memset(lf_slot_kept(pool, slot), 0, pool->kept_floats * sizeof(float));
    lf_give_place(&pool->free_prepared, lf_kept_links(pool), slot->prepared);
    slot->prepared = LF_NONE;
}
