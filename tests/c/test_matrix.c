/*
 * A packed matrix against one loop that says what it means: rows off every panel, panels of both widths and tails of any,
 * shared with another matrix or not, operands in one part and in several at any address; one row of input and many.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "matrix.h"
#include "kernel.h"
#include "memory/memory.h"
#include "pseudo_random.h"

enum {
    ROWS = 331,
    COLUMNS = 300,
    INPUTS = 9,
    MOST_SEGMENTS = 3,
    MOST_ROWS = 512,
    MOST_VECTORS = 9
};

static float weights[ROWS * COLUMNS];

/* What a weight is once it is packed; an int8 one in units of its row's scale. */
static float stored(lf_weight_type type, float weight, float scale) {
    return type == LF_INT8 && scale > 0 ? nearbyintf(weight / scale) : weight;
}

/* Of float16 the weights are exact from the beginning; none is zero, nor becomes it in int8, so all count. */
static float next_weight(lf_weight_type type, uint32_t *state) {
    const float any = pseudo_random(state), value = fabsf(any) < 1.0f / 64 ? 1.0f / 64 : any;
    return type == LF_FLOAT16 ? floorf(value * 256) / 256 : value;
}

typedef struct packed {
    lf_matrix m;
    char *block;
    size_t bytes;
    float scales[ROWS];
} packed;

/* beside: bytes of each row of a panel that belong to someone else, before and after. */
static packed pack(const lf_isa *isa, lf_geometry g, size_t rows, size_t columns, uint32_t wide,
                   uint32_t before, uint32_t after) {
    const uint32_t own = (uint32_t)lf_row_bytes(g, columns);
    packed p = {.m = {.rows = (uint32_t)lf_round_up(rows, g.lanes),
                      .columns = (uint32_t)columns,
                      .wide_panels = wide,
                      .offset = before,
                      .stride = before + own + after}};
    p.bytes = lf_block_bytes(&p.m, g, 1);
    p.block = lf_alloc_zeroed(p.bytes);
    p.m.panels = p.block;
    for (size_t row = 0; row < rows; row++)
        p.scales[row] = lf_pack_row(&p.m, g, isa->int8_offset, row, weights + row * columns);
    return p;
}

/* An operand of whole numbers for int8, cut into parts, each in memory of its own and off every alignment. */
typedef struct operands {
    float values[INPUTS][COLUMNS];
    char parts[INPUTS][MOST_SEGMENTS][COLUMNS * sizeof(float) + 64];
    const void *rows[MOST_SEGMENTS][INPUTS];
    lf_row_segment segments[MOST_SEGMENTS];
} operands;

/* changed: the number, from 1, of a part whose first value is another one; 0: none. */
static void make_operands(operands *o, const lf_isa *isa, lf_weight_type type, size_t columns,
                          size_t count, size_t changed) {
    uint32_t state = 11;
    const size_t quant_bytes = isa->int8_group == 4 ? 1 : 2; /* see lf_quant of each dot */
    size_t first = 0;
    memset(o, 0x55, sizeof *o); /* what is read behind a last part must not count */
    for (size_t n = 0; n < INPUTS; n++)
        for (size_t k = 0; k < columns; k++) {
            const float value = pseudo_random(&state);
            o->values[n][k] = type == LF_INT8 ? floorf(value * 127) : value;
        }
    for (size_t part = 0; part < count; part++) {
        size_t length = columns - first;
        if (part + 1 < count)
            length = length / 2 / 4 * 4; /* whole groups */
        for (size_t n = 0; n < INPUTS && part + 1 == changed; n++)
            o->values[n][first] = o->values[n][first] < 0 ? 50 : -50;
        for (size_t n = 0; n < INPUTS; n++) {
            char *const at = o->parts[n][part] + (type == LF_INT8 ? 3 * quant_bytes : 4 * part);
            for (size_t k = 0; k < length; k++) {
                const float value = o->values[n][first + k];
                const int16_t wide = (int16_t)(type == LF_INT8 ? value : 0);
                const int8_t byte = (int8_t)wide;
                if (type != LF_INT8)
                    memcpy(at + k * sizeof value, &value, sizeof value);
                else if (quant_bytes == 1)
                    memcpy(at + k, &byte, 1);
                else
                    memcpy(at + 2 * k, &wide, 2);
            }
            o->rows[part][n] = at;
        }
        o->segments[part] = (lf_row_segment){o->rows[part], length};
        first += length;
    }
}

/* One sum as the contract has it: a chain of fused multiply-adds in ascending order, or an exact integer. */
static float sum_of(lf_weight_type type, const packed *p, size_t row, const float *x, float start) {
    float sum = start;
    for (size_t k = 0; k < p->m.columns; k++)
        sum = fmaf(stored(type, weights[row * p->m.columns + k], p->scales[row]), x[k], sum);
    return sum;
}

/* What sums start from: floats, or integers for int8. */
typedef union starts {
    _Alignas(64) float values[MOST_ROWS];
    int32_t whole[MOST_ROWS];
} starts;

/* The plain sums of one row of input, and what int8 weights that carry an offset make too much of each. */
typedef struct expected {
    float sums[MOST_ROWS], excess;
} expected;

static void expect(expected *e, const lf_isa *isa, lf_weight_type type, const packed *p,
                   size_t rows, const float *x, const starts *start) {
    for (size_t row = 0; row < rows; row++) {
        const float from = !start            ? 0
                           : type == LF_INT8 ? (float)start->whole[row]
                                             : start->values[row];
        e->sums[row] = sum_of(type, p, row, x, from);
    }
    e->excess = 0;
    for (size_t k = 0; k < p->m.columns; k++)
        e->excess += (float)isa->int8_offset * x[k];
}

/* Row n of the sums against the plain ones; returns how many differ. */
static size_t differing(lf_weight_type type, const packed *p, size_t rows, const float *sums,
                        size_t n, const expected *e) {
    const int32_t *const whole = (const int32_t *)(const void *)sums;
    size_t count = 0;
    for (size_t row = 0; row < rows; row++) {
        const size_t at = n * p->m.rows + row;
        count += (type == LF_INT8 ? (float)whole[at] - e->excess : sums[at]) != e->sums[row];
    }
    return count;
}

static int is_untouched(const float *sums, size_t first, size_t count) {
    for (size_t j = first; j < count; j++)
        if (memcmp(&sums[j], "\xAB\xAB\xAB\xAB", 4) != 0)
            return 0;
    return 1;
}

static void check_products(const lf_isa *isa, lf_weight_type type, const packed *p, size_t rows,
                           size_t parts) {
    enum { ALL = INPUTS * MOST_ROWS };
    static operands o, other;
    static starts start;
    static _Alignas(64) float sums[ALL];
    static expected plain[INPUTS], changed;
    const starts *const from = parts == 2 ? &start : NULL;
    uint32_t state = 5;
    make_operands(&o, isa, type, p->m.columns, parts, 0);
    for (size_t row = 0; row < p->m.rows; row++) {
        const float value = pseudo_random(&state);
        if (type == LF_INT8)
            start.whole[row] = (int32_t)(value * 1000);
        else
            start.values[row] = value;
    }
    for (size_t n = 0; n < INPUTS; n++)
        expect(&plain[n], isa, type, p, rows, o.values[n], from);
    for (size_t count = 1; count <= INPUTS; count++) {
        memset(sums, 0xAB, sizeof sums);
        isa->matmat[type](&p->m, o.segments, parts, count, from, sums);
        for (size_t n = 0; n < count; n++)
            CHECK(!differing(type, p, rows, sums, n, &plain[n]));
        CHECK(is_untouched(sums, count * p->m.rows, ALL));
    }
    lf_segment one[MOST_SEGMENTS];
    for (size_t part = 0; part < parts; part++)
        one[part] = (lf_segment){o.rows[part][1], o.segments[part].count};
    memset(sums, 0xAB, sizeof sums);
    isa->matvec[type](&p->m, one, parts, from, sums);
    CHECK(!differing(type, p, rows, sums, 0, &plain[1]));
    CHECK(is_untouched(sums, p->m.rows, ALL));
    /* negative control: the first value of each part counts, for one row and for many */
    for (size_t part = 0; part < parts; part++) {
        if (!o.segments[part].count)
            continue;
        make_operands(&other, isa, type, p->m.columns, parts, part + 1);
        expect(&changed, isa, type, p, rows, other.values[1], from);
        isa->matmat[type](&p->m, other.segments, parts, 2, from, sums);
        CHECK(!differing(type, p, rows, sums, 1, &changed));
        CHECK(differing(type, p, rows, sums, 1, &plain[1]) == rows);
        one[part].values = other.rows[part][1];
        isa->matvec[type](&p->m, one, parts, from, sums);
        CHECK(differing(type, p, rows, sums, 0, &plain[1]) == rows);
        one[part].values = o.rows[part][1];
    }
}

/* Every row of every panel is found again, panels fill the block without a gap, and none but the last is a tail. */
static void check_geometry(const lf_matrix *m, lf_geometry g) {
    size_t row = 0;
    for (size_t n = 0; n < lf_panel_count(m, g); n++) {
        const lf_panel p = lf_panel_at(m, g, n);
        CHECK(p.row == row && p.weights == m->panels + row * m->stride + p.rows * m->offset);
        for (size_t j = 0; j < p.rows; j++)
            CHECK(lf_panel_of_row(m, g, row + j) == n);
        row += p.rows;
        CHECK(p.rows >= lf_narrow_rows(g) || row == m->rows);
    }
    CHECK(row == m->rows);
}

static float bias_of(size_t row) { return (float)row + 0.5f; }

static void pack_biases(const packed *p, lf_geometry g, size_t rows) {
    for (size_t row = 0; row < rows; row++)
        lf_pack_bias(&p->m, g, 1, row, bias_of(row), &p->scales[row]);
}

/* In front of the weights of a panel, or behind all of them, where whole vectors of them can be loaded. */
static void check_biases(const packed *p, lf_geometry g, size_t rows) {
    for (size_t row = 0; row < rows; row++) {
        const size_t lane = row % g.lanes;
        const lf_panel panel = lf_panel_at(&p->m, g, lf_panel_of_row(&p->m, g, row));
        const float *const front = (const float *)(const void *)panel.weights - panel.rows;
        const float *const set = lf_dequantisation_rows(&p->m, g, 1, row - lane);
        if (g.type == LF_INT8) {
            CHECK((size_t)((const char *)set - p->block) % (g.lanes * sizeof(float)) == 0);
            CHECK((const char *)(set + 2 * g.lanes) <= p->block + p->bytes);
            CHECK(set[lane] == bias_of(row) && set[g.lanes + lane] == p->scales[row]);
        } else {
            CHECK(front[row - panel.row] == bias_of(row));
        }
    }
}

/* negative control: with other weights the last row, and no other, has other sums. */
static void check_the_last_row_counts(const lf_isa *isa, lf_geometry g, const packed *p,
                                      size_t rows) {
    static operands o;
    static _Alignas(64) float sums[2 * MOST_ROWS];
    static expected plain;
    float other[COLUMNS];
    make_operands(&o, isa, g.type, p->m.columns, 1, 0);
    expect(&plain, isa, g.type, p, rows, o.values[1], NULL);
    for (size_t k = 0; k < p->m.columns; k++)
        other[k] = -weights[(rows - 1) * p->m.columns + k];
    (void)lf_pack_row(&p->m, g, isa->int8_offset, rows - 1, other);
    isa->matmat[g.type](&p->m, o.segments, 1, 2, NULL, sums);
    CHECK(differing(g.type, p, rows, sums, 1, &plain) == 1);
    CHECK(differing(g.type, p, rows - 1, sums, 1, &plain) == 0);
    const lf_segment one = {o.rows[0][1], p->m.columns};
    isa->matvec[g.type](&p->m, &one, 1, NULL, sums);
    CHECK(differing(g.type, p, rows, sums, 0, &plain) == 1);
    CHECK(differing(g.type, p, rows - 1, sums, 0, &plain) == 0);
}

/* Few vectors: tails of each width, alone and behind narrow panels and a wide one. */
static void check_tails(const lf_isa *isa, lf_geometry g) {
    static const size_t columns[] = {
        67, COLUMNS}; /* one block of k and a part, of float32 and of int8 */
    for (size_t n = 0; n < sizeof columns / sizeof *columns; n++)
        for (size_t vectors = 1; vectors <= MOST_VECTORS; vectors++)
            for (uint32_t wide = 0; wide * g.wide * LF_NARROW_VECTORS <= vectors; wide++) {
                const size_t rows = vectors * g.lanes - (g.lanes > 1); /* none is empty */
                packed p = pack(isa, g, rows, columns[n], wide, (uint32_t)lf_bias_bytes(g), 0);
                CHECK(p.m.rows == vectors * g.lanes);
                check_geometry(&p.m, g);
                pack_biases(&p, g, rows);
                for (size_t parts = 1; parts <= MOST_SEGMENTS; parts++)
                    check_products(isa, g.type, &p, rows, parts);
                check_biases(&p, g, rows);
                check_the_last_row_counts(isa, g, &p, rows);
                lf_free(p.block);
            }
}

static void check_type(const lf_isa *isa, lf_weight_type type) {
    static const size_t columns[] = {1, 3, 16, 67, COLUMNS};
    const lf_geometry g = lf_geometry_of(isa, type);
    uint32_t state = 1;
    for (size_t n = 0; n < sizeof weights / sizeof *weights; n++)
        weights[n] = next_weight(type, &state);
    for (size_t n = 0; n < sizeof columns / sizeof *columns; n++)
        for (uint32_t wide = 0; wide < 3; wide++)
            for (size_t parts = 1; parts <= MOST_SEGMENTS; parts++) {
                const size_t rows = n % 2 ? ROWS : 2 * lf_narrow_rows(g) + 1;
                if (rows > ROWS || rows < wide * g.wide * lf_narrow_rows(g))
                    continue;
                packed p = pack(isa, g, rows, columns[n], wide, wide ? 4 : 0, n == 2 ? 8 : 0);
                check_geometry(&p.m, g);
                check_products(isa, type, &p, rows, parts);
                lf_free(p.block);
            }
    check_tails(isa, g);
}

int main(void) {
    for (size_t i = 0; i < lf_isa_count(); i++)
        for (int type = 0; type < LF_WEIGHT_TYPES && !lf_isa_missing(i, 0); type++)
            check_type(lf_isa_at(i), (lf_weight_type)type);
    return check_failures("test_matrix");
}
