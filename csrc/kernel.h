/* What kernels take: a layer, and the rows that one pass over it reads and writes; and the descriptor of an ISA. */
#ifndef LF_KERNEL_H
#define LF_KERNEL_H

#include "layout.h"
#include "program/products.h"
#include "program/walk.h"
#include "tuning.h"

/* The arithmetic is part of the contract, so a build that would relax it must not exist. */
#if defined(__FAST_MATH__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__)
#error "lstm_fast cannot be built with -ffast-math: its results are a contract of bits"
#endif

/* Snapshots, files and packed weights are bytes in this order. */
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "lstm_fast cannot be built for a big-endian CPU: its weights are little-endian"
#endif

#define LF_GATES 4 /* i, f, g, o */

/* The two halves of an LSTM's sums: W_ih x and W_hh h. */
enum { LF_INPUT, LF_RECURRENT, LF_HALVES };

/*
 * One LSTM layer, whose two matrices share their panels. The rows of a panel are ordered so that a gate of some units is
 * one vector and the four gates of a unit lie in one panel: [LF_GATES][units].
 */
typedef struct lf_layer { /* a cache line */
    _Alignas(64) size_t input_size;
    size_t hidden_size;
    size_t output_size;                  /* of h: proj_size, or hidden_size */
    size_t padded_hidden, padded_output; /* rounded up to whole vectors */
    uint32_t wide_panels;
    _Bool x_is_bounded, h_is_bounded; /* live in [-1, 1]: int8 has a fixed scale for them */
    const char *panels;
    const struct lf_variant *variant; /* null where the cell is the plain one */
} lf_layer;
_Static_assert(sizeof(void *) != 8 || sizeof(lf_layer) == 64, "one line, so that it is one miss");

/* W_ih or W_hh of a layer. */
static inline lf_matrix lf_layer_matrix(const lf_layer *layer, lf_geometry g, int half) {
    const size_t bias = lf_bias_bytes(g);
    const size_t input = lf_row_bytes(g, layer->input_size);
    const size_t recurrent = lf_row_bytes(g, layer->output_size);
    const lf_matrix m = {
        .panels = layer->panels,
        .rows = (uint32_t)(LF_GATES * layer->padded_hidden),
        .columns = (uint32_t)(half == LF_INPUT ? layer->input_size : layer->output_size),
        .wide_panels = layer->wide_panels,
        .offset = (uint32_t)(bias + (half == LF_INPUT ? 0 : input)),
        .stride = (uint32_t)(bias + input + recurrent),
    };
    return m;
}

/* What a cell has that is not the plain one. Rows are padded with zeros. */
typedef struct lf_variant {
    lf_cell_options cell;
    const float *peephole;   /* [3][padded_hidden], or null */
    const float *layer_norm; /* [LF_GATES][padded_hidden], or null */
    const float *bias;       /* the same, with layer_norm: then the sums are without */
    lf_matrix projection;    /* W_hr, alone in its panels; panels: null where there is none */
} lf_variant;

/* Scratch for a variant: pre-activations [LF_GATES][padded_hidden], and what is to be projected. */
#define LF_PRE_ROWS (LF_GATES + 1)

/* int8: what a quantised vector is. Weights that are stored with an offset make each of its sums of
 * products too large by offset times the sum of the vector, which `correction` takes back. */
typedef struct lf_operand {
    float scale; /* of one unit; NaN where a value was not finite */
    int32_t correction;
} lf_operand;

/*
 * One pass over one layer: the halves first_half .. end_half - 1 of the sums and, unless it is the second half alone,
 * the new h and c. Buffers are aligned and padded to whole vectors. h_out must be neither h nor x; c is updated in
 * place. A pass over the second half alone leaves its sums in `recurrent`, from where one over the first half alone
 * takes them.
 */
typedef struct lf_pass {
    const lf_layer *layer;
    size_t first_half, end_half;
    int descending;      /* through the panels */
    int32_t x_magnitude; /* int8: the bits of the largest in x; 0: not known */
    const float *x, *h;
    float *c, *h_out;
    float *recurrent;               /* [LF_GATES * padded_hidden] floats, or integers for int8 */
    void *quants[LF_HALVES];        /* int8: scratch for the quantised x and h */
    lf_operand operands[LF_HALVES]; /* int8: of those */
    float *pre;                     /* scratch for a variant: [LF_PRE_ROWS][padded_hidden] */
} lf_pass;

/*
 * The same for several sessions at once, [sessions] rows of each kind, but h is updated in place, too:
 * until all sums are there, what is to come waits in o. Where it is the second half alone, or the first
 * alone, `recurrent` is where each session keeps the sums of the second.
 */
typedef struct lf_batch {
    const lf_layer *layer;
    size_t first_half, end_half, sessions;
    int descending;
    int prefetches; /* the layers' weights don't all stay in L2 */
    const float *const *x;
    float *const *h, *const *c;
    float *const *o; /* scratch: [padded_hidden] each */
    float *const *y; /* where h goes as well, as a caller takes it; or null */
    float *const
        *recurrent; /* [sessions] of [LF_GATES * padded_hidden], or null where not needed */
    float *sums;    /* scratch: [2][sessions][rows of a wide panel] */
    void *const *quants[LF_HALVES];     /* int8: [sessions] rows of scratch each */
    lf_operand *operands[LF_HALVES];    /* int8: [sessions] of them each */
    float *const *pre;                  /* as lf_pass.pre, [sessions] of them */
    const void *const *rows[LF_HALVES]; /* set by the pass: the operands as the dot takes them */
} lf_batch;

/* One ISA: what it needs and its kernels. Sums are floats, or integers for int8, before any correction. */
typedef struct lf_isa {
    const char *name;
    uint32_t required; /* lf_cpu_feature bits */
    size_t lanes;
    size_t wide_panel;     /* so many narrow panels are a wide one */
    int has_narrow_panels; /* sums of narrow panels, float32, keep up with L2 */
    size_t int8_group;     /* columns that one int8 dot takes */
    int int8_offset;       /* what it wants added to each weight */
    void (*layer_pass[LF_WEIGHT_TYPES])(lf_pass *pass);
    void (*batch_pass[LF_WEIGHT_TYPES])(lf_batch *batch);
    /* sums[rows of m] of a matrix times one row, from 0 or from start[rows of m]; both aligned to LF_ALIGNMENT */
    void (*matvec[LF_WEIGHT_TYPES])(const lf_matrix *m, const lf_segment *operand, size_t segments,
                                    const void *start, void *sums);
    /* The same for 1 .. LF_BATCH_SESSIONS rows: sums[count][rows of m], all from the same start. */
    void (*matmat[LF_WEIGHT_TYPES])(const lf_matrix *m, const lf_row_segment *operand,
                                    size_t segments, size_t count, const void *start, void *sums);
    /* Operations of whole models: generic/elementwise.h, along.h, product.h and gru.h. row: scratch for
     * along->inner_count floats, aligned. Other pointers have any alignment; y may be x or a. */
    void (*unary)(const lf_elementwise *op, float *y, const float *x);
    void (*binary)(const lf_elementwise *op, float *y, const float *a, const float *b);
    void (*along)(const lf_along *op, float *y, const float *x, float *row);
    void (*product)(const lf_product *p, const lf_product_rows *rows);
    void (*depthwise)(const lf_depthwise *d, const float *x, float *y);
    void (*gru_reset)(size_t hidden_size, const float *a, const float *u, const float *h, float *y);
    void (*gru_output)(size_t hidden_size, int is_linear, const float *a, const float *u,
                       const float *u_n, const float *h, float *y);
    /* In place; count is a multiple of lanes. */
    void (*canonicalise_f32)(float *values, size_t count);
    /* Between a caller's memory and an aligned row, padded to whole vectors; x becomes canonical. The one that
     * measures returns what lf_pass.x_magnitude wants, the other 0. */
    int32_t (*take_frame_f32)(float *x, const float *frame, size_t count);
    int32_t (*measure_frame_f32)(float *x, const float *frame, size_t count);
    void (*give_output_f32)(float *y, const float *h, size_t count);
    /* In place; count is a multiple of lanes. */
    void (*activate_f32)(const lf_function *function, float *values, size_t count);
    /* v[0] * v[1] + v[2], rounded twice unless the compiler fuses what it should not; see lf_self_test */
    float (*canary)(const float *v);
    float (*probe_read)(const float *values, size_t count);
    size_t (*probe_fma)(size_t turns, float *result);
} lf_isa;

static inline lf_geometry lf_geometry_of(const lf_isa *isa, lf_weight_type type) {
    const lf_geometry g = {type, isa->lanes, isa->wide_panel,
                           type == LF_INT8 ? isa->int8_group : 1};
    return g;
}

/* cpu/dispatch.c */
const lf_isa *lf_isa_at(size_t index);

#endif
