/* What is free: lists of places, the one that was given back last in front. */
#include "pool.h"

/*
 * The first place, below, and how often the list has changed, above. Without the latter a thread might find the place in
 * front that it has seen there, but another one behind it, since both were taken and the first was given back meanwhile.
 */
#define CHANGE (UINT64_C(1) << 32)

static uint64_t with_first(uint64_t head, uint32_t first) {
    return ((head & ~(uint64_t)UINT32_MAX) | first) + CHANGE;
}

static lf_link *link_of(lf_links links, uint32_t place) {
    return (lf_link *)(void *)(links.first + place * links.stride);
}

void lf_empty_list(_Atomic uint64_t *list) {
    atomic_store_explicit(list, with_first(atomic_load(list), LF_NONE), memory_order_relaxed);
}

uint32_t lf_take_place(_Atomic uint64_t *list, lf_links links) {
    uint64_t head = atomic_load_explicit(list, memory_order_acquire);
    while ((uint32_t)head != LF_NONE) {
        const uint32_t next = lf_linked(link_of(links, (uint32_t)head));
        if (atomic_compare_exchange_weak_explicit(list, &head, with_first(head, next),
                                                  memory_order_acquire, memory_order_acquire))
            return (uint32_t)head;
    }
    return LF_NONE;
}

/* Places that are linked already, from the first one to the last one. */
static void put_in_front(_Atomic uint64_t *list, lf_link *last, uint32_t first) {
    uint64_t head = atomic_load_explicit(list, memory_order_relaxed);
    do
        lf_link_to(last, (uint32_t)head);
    while (!atomic_compare_exchange_weak_explicit(list, &head, with_first(head, first),
                                                  memory_order_release, memory_order_relaxed));
}

void lf_give_place(_Atomic uint64_t *list, lf_links links, uint32_t place) {
    put_in_front(list, link_of(links, place), place);
}

void lf_give_places(_Atomic uint64_t *list, lf_links links, size_t first, size_t end) {
    for (size_t n = first; n + 1 < end; n++)
        lf_link_to(link_of(links, (uint32_t)n), (uint32_t)n + 1);
    if (first < end)
        put_in_front(list, link_of(links, (uint32_t)end - 1), (uint32_t)first);
}
