/* What the parts of the core know of each other; nothing here is public. */
#ifndef LF_INTERNAL_H
#define LF_INTERNAL_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "lstm_fast.h"

/* The arithmetic is part of the contract, so a build that would relax it must not exist. */
#if defined(__FAST_MATH__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__)
#error "lstm_fast cannot be built with -ffast-math: its results are a contract of bits"
#endif

#define LF_ALIGNMENT ((size_t)64) /* a cache line, and the widest vector */
#define LF_GATES 4                /* i, f, g, o */

/*
 * Packed weights of one layer. Hidden units are cut into panels; a panel holds the four gates of
 * the same units side by side and is read front to back in a step:
 *
 *     bias     [LF_GATES][units]
 *     weights  [K_in][LF_GATES][units], then [K_rec][LF_GATES][units]     k-th row: what x[k], h[k]
 * meets
 *
 * with units = panel_vectors * lanes, but for a last panel of one vector where their number is odd.
 * Units past hidden_size are zeros.
 */
typedef struct lf_layer {
    size_t input_size;
    size_t hidden_size;
    size_t padded_hidden; /* hidden_size rounded up to whole vectors */
    const float *panels;
} lf_layer;

/* One ISA: what it needs and its kernels. Buffers are aligned and padded to padded_hidden. */
typedef struct lf_isa {
    const char *name;
    uint32_t required; /* lf_cpu_feature bits */
    size_t lanes;
    size_t panel_vectors;
    /* One step of one layer. h_out must not be h or x; c is updated in place. */
    void (*layer_step_f32)(const lf_layer *layer, const float *x, const float *h, float *c,
                           float *h_out);
    /* In place; count is a multiple of lanes. */
    void (*canonicalise_f32)(float *values, size_t count);
    /* count is a multiple of lanes. */
    void (*activate_f32)(lf_activation function, const float *x, float *y, size_t count);
} lf_isa;

struct lf_model {
    const lf_isa *isa;
    size_t input_size;
    size_t hidden_size;
    size_t num_layers;
    size_t padded_hidden;
    size_t packed_bytes;
    float *panels;     /* of all layers, one block */
    lf_layer layers[]; /* [num_layers] */
};

struct lf_stream {
    const lf_model *model;
    atomic_flag busy;
    float *x;      /* the frame, padded to whole vectors */
    float *c;      /* [num_layers][padded_hidden] */
    float *h;      /* [num_layers][padded_hidden]: the state */
    float *h_next; /* the same; a step writes here and then swaps the two */
};

/* dispatch.c */
const lf_isa *lf_isa_at(size_t index);

/* model.c: rounds up; the caller has made sure that it can't overflow. */
static inline size_t lf_round_up(size_t value, size_t multiple) {
    return (value + multiple - 1) / multiple * multiple;
}
/* Aligned to LF_ALIGNMENT, zeroed; null when there is none. Give back with free. */
void *lf_alloc_zeroed(size_t bytes);

#endif
