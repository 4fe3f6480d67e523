/*
 * A packed matrix against one loop that says what it means: rows off every panel, panels of both widths, shared with
 * another matrix or not, operands in one part and in several at any address; one row of input and many.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "matrix.h"
#include "kernel.h"
#include "memory/memory.h"
#include "pseudo_random.h"

enum { ROWS = 331, COLUMNS = 300, INPUTS = 9, MOST_SEGMENTS = 3, MOST_ROWS = 512 };

static float weights[ROWS * COLUMNS];

/* What a weight is once it is packed; an int8 one in units of its row's scale. */
static float stored(lf_weight_type type, float weight, float scale) {
    return type == LF_INT8 && scale > 0 ? nearbyintf(weight / scale) : weight;
}

/* Of float16 the weights are exact from the beginning. */
static float next_weight(lf_weight_type type, uint32_t *state) {
    const float value = pseudo_random(state);
    return type == LF_FLOAT16 ? floorf(value * 256) / 256 : value;
}

typedef struct packed {
    lf_matrix m;
    char *block;
    float scales[ROWS];
} packed;

/* beside: bytes of each row of a panel that belong to someone else, before and after. */
static packed pack(const lf_isa *isa, lf_geometry g, size_t rows, size_t columns, uint32_t wide,
                   uint32_t before, uint32_t after) {
    const uint32_t own = (uint32_t)lf_row_bytes(g, columns);
    packed p = {.m = {.rows = (uint32_t)lf_round_up(rows, lf_narrow_rows(g)),
                      .columns = (uint32_t)columns,
                      .wide_panels = wide,
                      .offset = before,
                      .stride = before + own + after}};
    const size_t bytes = (size_t)p.m.rows * (p.m.stride + lf_dequantisation_row_bytes(g, 1));
    p.block = lf_alloc_zeroed(bytes);
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

static float found(lf_weight_type type, const void *sums, size_t at, const lf_isa *isa,
                   const float *x, size_t columns) {
    if (type != LF_INT8)
        return ((const float *)sums)[at];
    float offset = 0; /* what weights that carry an offset make too much */
    for (size_t k = 0; k < columns; k++)
        offset += (float)isa->int8_offset * x[k];
    return (float)((const int32_t *)sums)[at] - offset;
}

/* What sums start from: floats, or integers for int8. */
typedef union starts {
    _Alignas(64) float values[MOST_ROWS];
    int32_t whole[MOST_ROWS];
} starts;

/* Row n of the sums against the plain ones; returns how many differ. */
static size_t differing(const lf_isa *isa, lf_weight_type type, const packed *p, size_t rows,
                        const float *sums, size_t n, const float *x, const starts *start) {
    size_t count = 0;
    for (size_t row = 0; row < rows; row++) {
        const float from = !start            ? 0
                           : type == LF_INT8 ? (float)start->whole[row]
                                             : start->values[row];
        count += found(type, sums, n * p->m.rows + row, isa, x, p->m.columns) !=
                 sum_of(type, p, row, x, from);
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
    for (size_t count = 1; count <= INPUTS; count++) {
        memset(sums, 0xAB, sizeof sums);
        isa->matmat[type](&p->m, o.segments, parts, count, from, sums);
        for (size_t n = 0; n < count; n++)
            CHECK(!differing(isa, type, p, rows, sums, n, o.values[n], from));
        CHECK(is_untouched(sums, count * p->m.rows, ALL));
    }
    lf_segment one[MOST_SEGMENTS];
    for (size_t part = 0; part < parts; part++)
        one[part] = (lf_segment){o.rows[part][1], o.segments[part].count};
    memset(sums, 0xAB, sizeof sums);
    isa->matvec[type](&p->m, one, parts, from, sums);
    CHECK(!differing(isa, type, p, rows, sums, 0, o.values[1], from));
    CHECK(is_untouched(sums, p->m.rows, ALL));
    /* negative control: the first value of each part counts, for one row and for many */
    for (size_t part = 0; part < parts; part++) {
        if (!o.segments[part].count)
            continue;
        make_operands(&other, isa, type, p->m.columns, parts, part + 1);
        isa->matmat[type](&p->m, other.segments, parts, 2, from, sums);
        CHECK(!differing(isa, type, p, rows, sums, 1, other.values[1], from));
        CHECK(differing(isa, type, p, rows, sums, 1, o.values[1], from) > rows / 2);
        one[part].values = other.rows[part][1];
        isa->matvec[type](&p->m, one, parts, from, sums);
        CHECK(differing(isa, type, p, rows, sums, 0, o.values[1], from) > rows / 2);
        one[part].values = o.rows[part][1];
    }
}

/* Every row of every panel is found again, and panels fill the block without a gap. */
static void check_geometry(const lf_matrix *m, lf_geometry g) {
    size_t row = 0;
    for (size_t n = 0; n < lf_panel_count(m, g); n++) {
        const lf_panel p = lf_panel_at(m, g, n);
        CHECK(p.row == row && p.weights == m->panels + row * m->stride + p.rows * m->offset);
        for (size_t j = 0; j < p.rows; j++)
            CHECK(lf_panel_of_row(m, g, row + j) == n);
        row += p.rows;
    }
    CHECK(row == m->rows);
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
                free(p.block);
            }
}

int main(void) {
    for (size_t i = 0; i < lf_isa_count(); i++)
        for (int type = 0; type < LF_WEIGHT_TYPES && !lf_isa_missing(i, 0); type++)
            check_type(lf_isa_at(i), (lf_weight_type)type);
    return check_failures("test_matrix");
}
