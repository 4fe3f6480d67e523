/* Handles: which slot, and whether it is still that session. */
#include <time.h>

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

unsigned long long lf_new_handle(size_t index) {
    unsigned long long handle;
    do
        handle = (atomic_fetch_add(&serials, 1) * SERIAL_FACTOR & SERIAL_MASK) << SLOT_BITS | index;
    while (handle <= LF_LAST_OWNER); /* those stand for who uses a session */
    return handle;
}

size_t lf_handle_slot(unsigned long long handle) { return handle & (((size_t)1 << SLOT_BITS) - 1); }
