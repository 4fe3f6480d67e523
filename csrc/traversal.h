/*
 * The order in which a pass walks through the panels. Every other one starts with the last panels, since the caches
 * still have those. After a pause they have nothing, and then the order of the addresses is the quickest.
 */
#ifndef LF_TRAVERSAL_H
#define LF_TRAVERSAL_H

#include <stdint.h>

/* Whether this thread's next pass is a descending one. hot_gap: ticks of lf_ticks from the start of one pass to the next
 * that are no pause; 0: this pass ascends, and doesn't count for the next. */
int lf_next_descends(uint64_t hot_gap);

/* The same right after a pass, without a look at the clock. After a run the start of its first pass counts. */
int lf_next_descends_at_once(uint64_t hot_gap);

#endif
