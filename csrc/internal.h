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
 * The weight types: F(type, name, bytes of a weight, FLOAT or INT8: what it is summed in). Where they differ in more
 * than that stands a switch without a default, so that the compiler names each place that a new one needs.
 */
#define LF_EACH_WEIGHT_TYPE(F)                                                                     \
    F(LF_FLOAT32, float32, 4, FLOAT) F(LF_FLOAT16, float16, 2, FLOAT) F(LF_INT8, int8, 1, INT8)

#define LF_ONE_MORE(type, name, bytes, sums) +1
enum { LF_WEIGHT_TYPES = 0 LF_EACH_WEIGHT_TYPE(LF_ONE_MORE) };
#undef LF_ONE_MORE

/*
 * Packed weights of one layer. Hidden units are cut into panels; a panel holds the four gates of the
 * same units side by side and is read front to back in a step, without a gap, so that the CPU sees
 * one stream:
 *
 *     bias     [LF_GATES][units]          not for int8; the sums of W_ih x start from it
 *     weights  [K_in][LF_GATES][units]    row k: for x[k]
 *     weights  [K_rec][LF_GATES][units]   row k: for h[k]
 *
 * with units = panel_vectors * lanes in the first wide_panels of them, and one vector in the others.
 * int8 weights stand in groups of k, [K / group][LF_GATES][units][group], K rounded up to whole
 * groups, as the ISA's dot takes them: with its int8_offset added. Units past hidden_size and k past K
 * are zero bytes.
 *
 * int8 has behind all panels what makes floats of its sums, in the order of use:
 *
 *     finish   [padded_hidden / lanes][LF_GATES][3][lanes]    the bias, the scales of W_ih and of W_hh
 */
enum { LF_FINISH_ROWS = 3 };
static inline size_t lf_weight_bytes(lf_weight_type type) {
#define LF_BYTES_OF(type, name, bytes, sums)                                                       \
    case type:                                                                                     \
        return bytes;
    switch (type) { LF_EACH_WEIGHT_TYPE(LF_BYTES_OF) }
#undef LF_BYTES_OF
    return 0; /* no type has this value */
}

typedef struct lf_layer { /* a cache line */
    _Alignas(64) size_t input_size;
    size_t hidden_size;
    size_t output_size;                  /* of h: proj_size, or hidden_size */
    size_t padded_hidden, padded_output; /* rounded up to whole vectors */
    uint32_t wide_panels;                /* the first ones; the others have one vector */
    _Bool x_is_bounded, h_is_bounded;    /* live in [-1, 1]: int8 has a fixed scale for them */
    const char *panels;
    const struct lf_variant *variant; /* null where the cell is the plain one */
} lf_layer;
_Static_assert(sizeof(void *) != 8 || sizeof(lf_layer) == 64, "one line, so that it is one miss");

/*
 * What a cell has that is not the plain one. Rows are padded with zeros. A projection is cut into strips
 * of LF_GATES vectors of its outputs, each packed as half a panel:
 *
 *     header   [1 or 2][LF_GATES * lanes]   the bias, and for int8 the scales
 *     weights  [H][LF_GATES * lanes]
 */
typedef struct lf_variant {
    lf_cell_options cell;
    const float *peephole;   /* [3][padded_hidden], or null */
    const float *layer_norm; /* [LF_GATES][padded_hidden], or null */
    const float *bias;       /* the same, with layer_norm: then the sums are without */
    const char *projection;  /* or null */
} lf_variant;

static inline size_t lf_strip_header_rows(lf_weight_type type) { return type == LF_INT8 ? 2 : 1; }

/* Scratch for a variant: pre-activations [LF_GATES][padded_hidden], and what is to be projected. */
#define LF_PRE_ROWS (LF_GATES + 1)

/* int8: what a quantised vector is. Weights that are stored with an offset make each of its sums of
 * products too large by offset times the sum of the vector, which `correction` takes back. */
typedef struct lf_operand {
    float scale; /* of one unit; NaN where a value was not finite */
    int32_t correction;
} lf_operand;

/*
 * One pass over one layer: the halves first_half .. end_half - 1 of the sums, 0 being W_ih x and 1
 * W_hh h, and, unless it is the second half alone, the new h and c. Buffers are aligned and padded
 * to whole vectors. h_out must be neither h nor x; c is updated in place. A pass over the second
 * half alone leaves its sums in `recurrent`, from where one over the first half alone takes them.
 */
typedef struct lf_pass {
    const lf_layer *layer;
    size_t first_half, end_half;
    int descending;      /* through the panels */
    int fetches_ahead;   /* asks for weights ahead; whole passes of plain cells heed it */
    int32_t x_magnitude; /* int8: the bits of the largest in x; 0: not known */
    const float *x, *h;
    float *c, *h_out;
    float *recurrent;       /* [LF_GATES * padded_hidden] floats, or integers for int8 */
    void *quants[2];        /* int8: scratch for the quantised x and h */
    lf_operand operands[2]; /* int8: of those */
    float *pre;             /* scratch for a variant: [LF_PRE_ROWS][padded_hidden] */
} lf_pass;

/*
 * The same for several streams at once, [streams] rows of each kind, but h is updated in place, too:
 * until all sums are there, what is to come waits in o. Where it is the second half alone, or the first
 * alone, `recurrent` is where each stream keeps the sums of the second.
 */
typedef struct lf_batch {
    const lf_layer *layer;
    size_t first_half, end_half, streams;
    int descending;
    int fetches_ahead; /* the layers' weights don't all stay in L2 */
    const float *const *x;
    float *const *h, *const *c;
    float *const *o;         /* scratch: [padded_hidden] each */
    float *const *y;         /* where h goes as well, as a caller takes it; or null */
    float *const *recurrent; /* [streams] of [LF_GATES * padded_hidden], or null where not needed */
    float *sums;             /* scratch: [2][streams][LF_GATES * panel_vectors * lanes] */
    void *const *quants[2];  /* int8: [streams] rows of scratch each */
    lf_operand *operands[2]; /* int8: [streams] of them each */
    float *const *pre;       /* as lf_pass.pre, [streams] of them */
    const void *const *rows[2]; /* set by the pass: the operands as the dot takes them */
} lf_batch;

/* One ISA: what it needs and its kernels. */
typedef struct lf_isa {
    const char *name;
    uint32_t required; /* lf_cpu_feature bits */
    size_t lanes;
    size_t panel_vectors;
    int has_narrow_panels; /* sums of one vector of units, float32, keep up with L2 */
    size_t int8_group;     /* values of k that one int8 dot takes */
    int int8_offset;       /* what it wants added to each weight */
    void (*layer_pass[LF_WEIGHT_TYPES])(lf_pass *pass);
    void (*batch_pass[LF_WEIGHT_TYPES])(lf_batch *batch);
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

/* Streams that share one pass over the weights: enough to pay for fetching a block from L2, and few
 * enough for their sums in one panel to stay close. */
enum { LF_BATCH_STREAMS = 128 };

/* What weights are in: memory of their own, large pages of their own, or a place in one that is shared. The
 * others are null. */
typedef struct lf_page lf_page;
typedef struct lf_block {
    void *memory;
    char *large;
    size_t large_bytes;
    lf_page *page;
} lf_block;

struct lf_model {
    const lf_isa *isa;
    lf_weight_type weight_type;
    size_t input_size;
    size_t hidden_size;
    size_t output_size;
    size_t num_layers;
    size_t padded_hidden, padded_output;
    size_t packed_bytes;
    uint64_t turns_within; /* see lf_next_way */
    int exceeds_l2;        /* its weights do, or leave no room for anything else */
    int is_in_l3;          /* a good part: hot passes ask for it ahead */
    char *panels;          /* of all layers, one block */
    lf_block panel_block;  /* in which that is */
    lf_variant *variants;  /* [num_layers], or null where all are plain */
    float *start;          /* h [L][padded_output], then c [L][padded_hidden]; null for zeros */
    int has_projection, has_fingerprint;
    unsigned char fingerprint[LF_FINGERPRINT_BYTES];
    lf_layer layers[]; /* [num_layers] */
};

/* A cold step waits for one line after the other, so what it looks up in the model and its ISA stands
 * here again, together. */
struct lf_stream {
    const lf_model *model;
    _Atomic uint32_t inside; /* who is: see stream.c */
    int prepared;            /* `recurrent` holds the second half of the next step's sums */
    size_t input_size, output_size, num_layers;
    const lf_layer *layers;
    int32_t (*take_frame_f32)(float *x, const float *frame, size_t count);
    void (*layer_pass)(lf_pass *pass);
    void (*give_output_f32)(float *y, const float *h, size_t count);
    uint64_t turns_within;
    int is_in_l3;
    float *x;         /* the frame, padded to whole vectors */
    float *c;         /* [num_layers][padded_hidden] */
    float *h;         /* [num_layers][padded_output]: the state */
    float *h_next;    /* the same; a step writes here and then swaps the two */
    float *recurrent; /* [num_layers][LF_GATES * padded_hidden] */
    void *quants[2];  /* int8: scratch for an input and for a hidden state */
    float *pre;       /* scratch for variants */
};

/* dispatch.c */
const lf_isa *lf_isa_at(size_t index);

/* Of a panel that L1 still has at the next pass, beside what else that needs. */
#define LF_L1_KEEPS ((size_t)40 << 10)

/* pack.c: how many of a layer's panels are wide; the bytes of them, and of what int8 has behind them, for each
 * of its padded_hidden units; and writing all that (zeroed before), which returns its end. */
size_t lf_wide_panels(const lf_isa *isa, lf_weight_type type, const lf_layer *layer);
size_t lf_packed_unit_bytes(const lf_isa *isa, lf_weight_type type, const lf_layer *layer);
/* b_ih + b_hh of one row, and whether float16 can hold a value. */
float lf_bias(const lf_layer_weights *weights, size_t row);
int lf_fits_float16(float value);
/* int8: the scale of a row. A row into its places, `stride` weights apart from group to group. */
float lf_row_scale(const float *row, size_t columns);
void lf_pack_row(char *out, const lf_isa *isa, lf_weight_type type, const float *row,
                 size_t columns, size_t stride, float scale);
char *lf_pack_layer(char *out, const lf_isa *isa, lf_weight_type type, const lf_layer *layer,
                    const lf_layer_weights *weights);

/* variants.c: the bytes of what a variant has beyond its panels, whole cache lines, 0 for a plain cell;
 * and writing it (zeroed before), which returns its end. */
size_t lf_variant_bytes(const lf_isa *isa, lf_weight_type type, const lf_layer *layer,
                        const lf_layer_weights *weights);
char *lf_pack_variant(char *out, const lf_isa *isa, lf_weight_type type, const lf_layer *layer,
                      const lf_layer_weights *weights, lf_variant *variant);
/* Whether the options of a layer make sense, are those of the plain cell, and keep h in [-1, 1]. */
lf_status lf_check_variant(const lf_layer_weights *weights, size_t hidden_size, size_t proj_size);
int lf_is_plain(const lf_layer_weights *weights);
int lf_is_bounded(const lf_layer_weights *weights);

/* stream.c: where a session starts from; and between padded layers and the caller's [L][P], [L][H]. */
void lf_state_start(const lf_model *model, float *h, float *c);
void lf_state_read(const lf_model *model, const float *h, const float *c, float *h_out,
                   float *c_out);
void lf_state_write(const lf_model *model, float *h, float *c, const float *h_in,
                    const float *c_in);

/* snapshot.c: whether a snapshot can be written to these bytes; writing it; and where h and c are in one that fits
 * the model (at any alignment, for lf_state_write alone). */
lf_status lf_snapshot_check_room(const lf_model *model, const void *bytes, size_t size);
void lf_snapshot_write(const lf_model *model, const float *h, const float *c, void *bytes);
lf_status lf_snapshot_read(const lf_model *model, const void *bytes, size_t size, const float **h,
                           const float **c);

/*
 * stream.c: the way of this thread's next pass over a model's layers. Every other one starts with the last
 * panels, since the caches still have those. After a pause they have nothing, and then the order of the
 * addresses is the quickest.
 */
typedef struct lf_way {
    int descending;
    int is_hot; /* right after another pass, of whatever model */
} lf_way;
/* `within`: ticks of lf_ticks from the start of one pass to the next that are no pause; 0: this pass goes one
 * way, is not hot, and doesn't count for the next. */
lf_way lf_next_way(uint64_t within);
/* The same right after a pass, without a look at the clock, which still has the start of the pass before. */
lf_way lf_next_way_at_once(uint64_t within);

static inline int lf_overlap(const void *a, size_t a_bytes, const void *b, size_t b_bytes) {
    const uintptr_t p = (uintptr_t)a, q = (uintptr_t)b;
    return p < q + b_bytes && q < p + a_bytes;
}

/* Rounds up; the caller has made sure that it can't overflow. */
static inline size_t lf_round_up(size_t value, size_t multiple) {
    return (value + multiple - 1) / multiple * multiple;
}

/*
 * forks.c. Threads that are inside a call when the process forks are not there in the child, and what they had
 * taken is never given back. So whoever takes something leaves the number of the process, which is another one
 * in the child; reading it is a load. lf_watch_forks comes before that; 0: there is no memory for it.
 */
extern _Atomic uint32_t lf_process_number; /* from 1 */
int lf_watch_forks(void);
static inline uint32_t lf_process(void) {
    return atomic_load_explicit(&lf_process_number, memory_order_relaxed);
}

/*
 * Long runs for callers that have to look up now and then, as Python does for signals. After each piece but
 * the last go_on(context) is called; where it returns 0, everything is as it was before the call, and the result
 * is LF_STOPPED. The sessions are in use all the time.
 */
enum { LF_STOPPED = -1 };
typedef int (*lf_go_on)(void *context);
int lf_stream_run_in_pieces(lf_stream *stream, const float *xs, size_t steps, float *ys,
                            lf_go_on go_on, void *context);
/* The steps of one piece, for count sessions at a time: at least 1, and some 5 to 20 ms. */
size_t lf_piece_steps(const lf_model *model, size_t count);

/* memory.c. Aligned to LF_ALIGNMENT, zeroed; null when there is none. Give the first back with free; weights
 * are somewhere in *block, and what is given back is that. fit_l2: they should stay in L2. */
void *lf_alloc_zeroed(size_t bytes);
char *lf_alloc_weights(const lf_isa *isa, size_t bytes, int fit_l2, lf_block *block);
void lf_free_weights(const lf_block *block);
/* Of the places of `bytes` in memory[0 .. whole - 1] the one that is read most quickly after LF_OTHERS bytes
 * beside it: what the rest of a program, an interpreter say, may have in L2 along with the weights. */
enum { LF_OTHERS = 256 << 10 };
char *lf_quickest_place(const lf_isa *isa, char *memory, size_t whole, size_t bytes);

/* large.c. Large pages where the system has them, aligned to one, of any content; null when there is no memory.
 * bytes: a multiple of a large page, and the same when they are given back. */
#define LF_LARGE_PAGE ((size_t)2 << 20)
void *lf_alloc_large(size_t bytes);
void lf_free_large(void *memory, size_t bytes);

/* pages.c. A place in a large page that is shared, zeroed, of at most LF_LARGE_PAGE bytes. */
char *lf_page_take(size_t bytes, lf_page **page);
void lf_page_give_back(lf_page *page);

#endif
