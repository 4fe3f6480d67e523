/* The same numbers in [-0.5, 0.5) everywhere: a linear congruential generator, whose low bits are left out. */
#ifndef PSEUDO_RANDOM_H
#define PSEUDO_RANDOM_H

#include <stdint.h>

static inline float pseudo_random(uint32_t *state) {
    *state = *state * 1664525u + 1013904223u;
    return (float)(*state >> 8) * 0x1p-24f - 0.5f;
}

#endif
