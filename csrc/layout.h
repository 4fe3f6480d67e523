/*
 * How weights lie in memory. Nothing else knows it: the packer, the kernels and whoever needs a size ask
 * here.
 *
 * A packed matrix has its rows cut into panels, whole vectors of rows side by side. A panel is read front to back,
 * [columns][rows of the panel], so that the CPU sees one stream. The first panels may be wide ones; the others have
 * LF_NARROW_VECTORS vectors of rows, but for the last one, a tail, where fewer are left. int8 weights stand in groups of
 * columns, as the ISA's dot takes them:
 * [columns / group][rows of the panel][group], with its int8_offset added. Rows past the last and columns that fill
 * a group are zero bytes.
 *
 * Matrices with the same rows can share panels: each panel then has the weights of all of them, one after the other,
 * so whoever multiplies with all of them still reads one stream. That takes two numbers for each row: how many bytes
 * of the panel stand in front of this matrix (`offset`), and how many bytes the panel has in all (`stride`).
 */
#ifndef LF_LAYOUT_H
#define LF_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

#include "lstm_fast.h"

#define LF_ALIGNMENT ((size_t)64) /* a cache line, and the widest vector */

/*
 * The weight types: F(type, name, bytes of a weight, FLOAT or INT8: what it is summed in). Where they differ in more
 * than that stands a switch without a default, so that the compiler names each place that a new one needs.
 */
#define LF_EACH_WEIGHT_TYPE(F)                                                                     \
    F(LF_FLOAT32, float32, 4, FLOAT) F(LF_FLOAT16, float16, 2, FLOAT) F(LF_INT8, int8, 1, INT8)

#define LF_ONE_MORE(type, name, bytes, sums) +1
enum { LF_WEIGHT_TYPES = 0 LF_EACH_WEIGHT_TYPE(LF_ONE_MORE) };
#undef LF_ONE_MORE

static inline size_t lf_weight_bytes(lf_weight_type type) {
#define LF_BYTES_OF(type, name, bytes, sums)                                                       \
    case type:                                                                                     \
        return bytes;
    switch (type) { LF_EACH_WEIGHT_TYPE(LF_BYTES_OF) }
#undef LF_BYTES_OF
    return 0; /* no type has this value */
}

/* Rounds up; the caller has made sure that it can't overflow. */
static inline size_t lf_round_up(size_t value, size_t multiple) {
    return (value + multiple - 1) / multiple * multiple;
}

/* What an ISA and a weight type make of a matrix. */
typedef struct lf_geometry {
    lf_weight_type type;
    size_t lanes; /* rows in a vector */
    size_t wide;  /* so many narrow panels are a wide one */
    size_t group; /* columns that lie together for each row; 1 unless int8 */
} lf_geometry;

/* Vectors of rows in a narrow panel: the fewest chains that keep up with L2, and the four gates of an LSTM. */
enum { LF_NARROW_VECTORS = 4 };

/* The sizes of a packed matrix are below 2^28, so what one row takes of a panel is below 2^32. */
typedef struct lf_matrix {
    const char *panels;
    uint32_t rows; /* whole vectors; those of an LSTM layer are whole narrow panels */
    uint32_t columns;
    uint32_t wide_panels; /* the first ones */
    uint32_t offset, stride;
} lf_matrix;

typedef struct lf_panel {
    size_t row, rows; /* the first one, and how many */
    const char *weights;
} lf_panel;

static inline size_t lf_narrow_rows(lf_geometry g) { return LF_NARROW_VECTORS * g.lanes; }

/* Panels without a tail, and with it. */
static inline size_t lf_whole_panels(const lf_matrix *m, lf_geometry g) {
    return m->rows / lf_narrow_rows(g) - m->wide_panels * (g.wide - 1);
}
static inline size_t lf_panel_count(const lf_matrix *m, lf_geometry g) {
    const size_t narrow = lf_narrow_rows(g);
    return (m->rows + narrow - 1) / narrow - m->wide_panels * (g.wide - 1);
}

/* The nth panel in the order of addresses. */
static inline lf_panel lf_panel_at(const lf_matrix *m, lf_geometry g, size_t n) {
    const size_t narrow = lf_narrow_rows(g), wide = m->wide_panels;
    lf_panel p;
    p.row = (n < wide ? n * g.wide : wide * (g.wide - 1) + n) * narrow;
    p.rows = n < wide ? narrow * g.wide : narrow;
    if (p.rows > m->rows - p.row)
        p.rows = m->rows - p.row;
    p.weights = m->panels + p.row * m->stride + p.rows * m->offset;
    return p;
}

/* The panel in which a row is. */
static inline size_t lf_panel_of_row(const lf_matrix *m, lf_geometry g, size_t row) {
    const size_t at = row / lf_narrow_rows(g), wide = m->wide_panels;
    return at < wide * g.wide ? at / g.wide : at - wide * (g.wide - 1);
}

/* Bytes of the weights of one row. */
static inline size_t lf_row_bytes(lf_geometry g, size_t columns) {
    return lf_round_up(columns, g.group) * lf_weight_bytes(g.type);
}

/*
 * What makes pre-activations of sums. A panel of float weights begins with a row of biases, from which its sums start.
 * Sums of int8 are integers, and behind all panels of a block, from the next whole vector on, stand the dequantisation
 * rows that make floats of them, one set for each vector of rows: the bias and then the scales of each of the `matrices`
 * that share the panels.
 */
static inline size_t lf_bias_bytes(lf_geometry g) { return g.type == LF_INT8 ? 0 : sizeof(float); }

static inline size_t lf_dequantisation_row_bytes(lf_geometry g, size_t matrices) {
    return g.type == LF_INT8 ? (1 + matrices) * sizeof(float) : 0;
}

/* Bytes of all panels of a block. */
static inline size_t lf_panels_bytes(const lf_matrix *m, lf_geometry g) {
    return lf_round_up((size_t)m->rows * m->stride, g.lanes * sizeof(float));
}

/* Bytes of a block: its panels and the dequantisation rows of the `matrices` that share them. */
static inline size_t lf_block_bytes(const lf_matrix *m, lf_geometry g, size_t matrices) {
    return lf_panels_bytes(m, g) + m->rows * lf_dequantisation_row_bytes(g, matrices);
}

/* The set of the vector that begins with `row`: [1 + matrices][lanes]. */
static inline const float *lf_dequantisation_rows(const lf_matrix *m, lf_geometry g,
                                                  size_t matrices, size_t row) {
    const char *const end = m->panels + lf_panels_bytes(m, g);
    return (const float *)(const void *)end + row * (1 + matrices);
}

/*
 * What a matrix is multiplied with: parts that follow one another, at any address each, of one value or more. A part of
 * int8 has whole groups, but for the last; what stands behind that one up to a whole group is read, and doesn't count.
 */
typedef struct lf_segment {
    const void *values;
    size_t count;
} lf_segment;

/* The same for several rows at once: values[r] is the part of row r. */
typedef struct lf_row_segment {
    const void *const *values;
    size_t count;
} lf_row_segment;

#endif
