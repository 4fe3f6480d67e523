/*
 * What goes element by element and along axes: every instruction set against single elements of the scalar kernels, and
 * against plain loops that say what a row comes to, bit by bit, through views of all kinds.
 */
#include "check.h"
#include "element_cases.h"

enum { TURNS = 60 };

static const lf_isa *scalar;

typedef struct memory {
    float floats[MOST_ELEMENTS + MARGIN];
} memory;

static void fill(memory *m, uint32_t *state) {
    for (size_t j = 0; j < MOST_ELEMENTS + MARGIN; j++)
        m->floats[j] = next_value(state);
}

static int has_two_inputs(lf_operation_code code) { return code >= LF_OP_ADD; }

/* Of single elements. */
static float one_element(const lf_elementwise *op, float a, float b) {
    lf_elementwise single = *op;
    float y = 0.0f;
    memset(&single.loops, 0, sizeof single.loops);
    single.loops.rank = 1;
    single.loops.sizes[0] = 1;
    if (has_two_inputs(op->code))
        scalar->binary(&single, &y, &a, &b);
    else
        scalar->unary(&single, &y, &a);
    return y;
}

static void call(const lf_isa *isa, const lf_elementwise *op, float *y, const float *a,
                 const float *b) {
    if (has_two_inputs(op->code))
        isa->binary(op, y, a, b);
    else
        isa->unary(op, y, a);
}

/* Whether all of memory is as it should be; `is_wrong` steps through a wrong stride, as a negative control. */
static int elements_agree(const lf_isa *isa, lf_elementwise op, uint32_t *state, int is_wrong) {
    static memory y, expected, a, b;
    static ptrdiff_t at[3][MOST_ELEMENTS];
    lf_loops *const loops = &op.loops;
    ptrdiff_t first[3];
    random_sizes(state, 3, 100, loops);
    for (uint32_t n = 0; n < 3; n++)
        first[n] = MARGIN - n + random_strides(state, loops, n > 0, loops->strides[n]);
    fill(&a, state);
    fill(&b, state);
    if (below(state, 3) == 0) /* a power that is exact throughout, where b is repeated */
        b.floats[first[2]] = special_values[below(state, 12)];
    memset(&y, 0x55, sizeof y);
    memset(&expected, 0x55, sizeof expected);
    size_t count = 0;
    for (uint32_t n = 0; n < 3; n++)
        count = list_elements(loops, n, at[n]);
    for (size_t j = 0; j < count; j++)
        expected.floats[first[0] + at[0][j]] =
            one_element(&op, a.floats[first[1] + at[1][j]], b.floats[first[2] + at[2][j]]);
    if (is_wrong)
        loops->strides[1][loops->rank - 1] += 1;
    call(isa, &op, y.floats + first[0], a.floats + first[1], b.floats + first[2]);
    return same_bits(&y, &expected, sizeof y);
}

/* In place, the result being where x or a is. */
static int in_place_agrees(const lf_isa *isa, lf_elementwise op, uint32_t *state) {
    static memory a, b, expected;
    op.loops = (lf_loops){.rank = 2, .sizes = {5, 37}, .strides = {{40, 1}, {40, 1}, {0, 1}}};
    fill(&a, state);
    fill(&b, state);
    memcpy(&expected, &a, sizeof a);
    for (size_t row = 0; row < 5; row++)
        for (size_t j = 0; j < 37; j++)
            expected.floats[1 + 40 * row + j] =
                one_element(&op, a.floats[1 + 40 * row + j], b.floats[2 + j]);
    call(isa, &op, a.floats + 1, a.floats + 1, b.floats + 2);
    return same_bits(&a, &expected, sizeof a);
}

static void check_elementwise(const lf_isa *isa) {
    uint32_t state = 1;
    for (int code = LF_OP_RELU; code <= LF_OP_PRELU; code++) {
        if (code > LF_OP_CLIP && code < LF_OP_ADD)
            continue;
        for (int turn = 0; turn < TURNS; turn++) {
            const lf_elementwise op = {.code = (lf_operation_code)code,
                                       .alpha = pseudo_random(&state),
                                       .beta = 0.75f,
                                       .is_approximate = turn % 2};
            CHECK(elements_agree(isa, op, &state, 0));
            CHECK(in_place_agrees(isa, op, &state));
        }
    }
}

/* ---- rows ---- */

static float exponential(float x) {
    const lf_elementwise op = {.code = LF_OP_EXP};
    return one_element(&op, x, 0.0f);
}

static float logarithm(float x) {
    const lf_elementwise op = {.code = LF_OP_LOG};
    return one_element(&op, x, 0.0f);
}

static float greater(float a, float b) {
    const lf_elementwise op = {.code = LF_OP_MAXIMUM};
    return one_element(&op, a, b);
}

static float canonical(float a) {
    return isnan(a) ? NAN : fabsf(a) < 0x1p-126f ? copysignf(0.0f, a) : a;
}

/* chains: 16; a single sum is another order, for the negative control. */
static float total(const float *row, size_t count, int is_of_squares, size_t chains) {
    float sums[16] = {0}, sum = 0.0f;
    for (size_t j = 0; j < count; j++) {
        float *const chain = &sums[j % chains];
        *chain = is_of_squares ? fmaf(row[j], row[j], *chain) : *chain + row[j];
    }
    sum = sums[0];
    for (size_t r = 1; r < chains; r++)
        sum += sums[r];
    return sum;
}

static float reduced(lf_reduction_kind kind, const float *row, size_t count, size_t chains) {
    float most = row[0], least = -row[0];
    for (size_t j = 1; j < count; j++) {
        most = greater(most, row[j]);
        least = greater(least, -row[j]);
    }
    switch (kind) {
    case LF_MEAN:
        return canonical(total(row, count, 0, chains) / (float)count);
    case LF_SUM:
        return canonical(total(row, count, 0, chains));
    case LF_MAX:
        return canonical(most);
    case LF_MIN:
        return canonical(-least);
    case LF_L2:
        return canonical(sqrtf(total(row, count, 1, chains)));
    }
    return 0.0f;
}

static void change_row(const lf_along *op, float *row, size_t count, size_t chains) {
    static float parts[MOST_ELEMENTS];
    if (op->code == LF_OP_LAYER_NORM) {
        const float mean = total(row, count, 0, chains) / (float)count;
        for (size_t j = 0; j < count; j++)
            row[j] = row[j] - mean;
        const float variance = total(row, count, 1, chains) / (float)count;
        const float inverse = 1.0f / sqrtf(variance + op->epsilon);
        for (size_t j = 0; j < count; j++) {
            float y = row[j] * inverse;
            y = op->scale ? y * op->scale[j] : y;
            row[j] = canonical(op->bias ? y + op->bias[j] : y);
        }
        return;
    }
    float most = row[0];
    for (size_t j = 1; j < count; j++)
        most = greater(most, row[j]);
    for (size_t j = 0; j < count; j++) {
        row[j] = row[j] - most;
        parts[j] = exponential(row[j]);
    }
    const float sum = total(parts, count, 0, chains);
    for (size_t j = 0; j < count; j++)
        row[j] = canonical(op->code == LF_OP_SOFTMAX ? parts[j] / sum : row[j] - logarithm(sum));
}

/* Some axes of random loops are the inner ones. */
static void divide(const lf_loops *all, uint32_t inner, lf_along *op) {
    const lf_loops single = {.rank = 1, .sizes = {1}};
    op->outer = single;
    op->inner = single;
    op->inner_count = 1;
    uint32_t ranks[2] = {0, 0};
    for (uint32_t axis = 0; axis < all->rank; axis++) {
        const int is_inner = inner >> axis & 1u;
        lf_loops *const loops = is_inner ? &op->inner : &op->outer;
        const uint32_t to = ranks[is_inner]++;
        loops->rank = to + 1;
        loops->sizes[to] = all->sizes[axis];
        for (uint32_t n = 0; n < 2; n++)
            loops->strides[n][to] = all->strides[n][axis];
        if (is_inner)
            op->inner_count *= all->sizes[axis];
    }
}

static int rows_agree(const lf_isa *isa, lf_along op, uint32_t *state, size_t chains) {
    static memory y, expected, x;
    static _Alignas(64) float row[MOST_ELEMENTS];
    static float wanted[MOST_ELEMENTS], scale[MOST_ELEMENTS + 1], bias[MOST_ELEMENTS + 1];
    static ptrdiff_t to[MOST_ELEMENTS], from[MOST_ELEMENTS], out[2][MOST_ELEMENTS];
    lf_loops all;
    const int has_specials = below(state, 3) == 0;
    random_sizes(state, 3, 100, &all);
    const uint32_t inner = op.code == LF_OP_LAYER_NORM ? 1u << (all.rank - 1) : below(state, 8);
    const ptrdiff_t y_first = MARGIN + random_strides(state, &all, 0, all.strides[0]);
    const ptrdiff_t x_first = 1 + random_strides(state, &all, 1, all.strides[1]);
    for (size_t j = 0; j < MOST_ELEMENTS + MARGIN; j++)
        x.floats[j] = has_specials && below(state, 30) == 0 ? next_value(state)
                                                            : 10.0f * pseudo_random(state);
    for (size_t j = 0; j < MOST_ELEMENTS + 1; j++) {
        scale[j] = pseudo_random(state);
        bias[j] = pseudo_random(state);
    }
    op.scale = below(state, 2) ? scale + 1 : NULL;
    op.bias = below(state, 2) ? bias + 1 : NULL;
    divide(&all, inner, &op);
    memset(&y, 0x55, sizeof y);
    memset(&expected, 0x55, sizeof expected);
    const size_t rows = list_elements(&op.outer, 0, out[0]);
    list_elements(&op.outer, 1, out[1]);
    list_elements(&op.inner, 0, to);
    const size_t count = list_elements(&op.inner, 1, from);
    for (size_t r = 0; r < rows; r++) {
        for (size_t j = 0; j < count; j++)
            wanted[j] = x.floats[x_first + out[1][r] + from[j]];
        float *const result = expected.floats + y_first + out[0][r];
        if (op.code == LF_OP_REDUCE) {
            *result = reduced(op.kind, wanted, count, chains);
            continue;
        }
        change_row(&op, wanted, count, chains);
        for (size_t j = 0; j < count; j++)
            result[to[j]] = wanted[j];
    }
    isa->along(&op, y.floats + y_first, x.floats + x_first, row);
    return same_bits(&y, &expected, sizeof y);
}

static void check_along(const lf_isa *isa) {
    uint32_t state = 5;
    for (int code = LF_OP_SOFTMAX; code <= LF_OP_REDUCE; code++)
        for (int turn = 0; turn < 5 * TURNS; turn++) {
            const lf_along op = {.code = (lf_operation_code)code,
                                 .kind = (lf_reduction_kind)(turn % 5),
                                 .epsilon = 1e-5f};
            CHECK(rows_agree(isa, op, &state, 16));
        }
}

/* ---- negative controls: with a wrong stride, or sums in another order, something differs ---- */

static void check_that_mistakes_show(const lf_isa *isa) {
    uint32_t state = 9;
    int wrong_strides = 0, wrong_sums[2] = {0, 0};
    for (int turn = 0; turn < TURNS; turn++) {
        const lf_elementwise tanh_of = {.code = LF_OP_TANH};
        const lf_along softmax = {.code = LF_OP_SOFTMAX};
        const lf_along norm = {.code = LF_OP_LAYER_NORM, .epsilon = 1e-5f};
        wrong_strides += !elements_agree(isa, tanh_of, &state, 1);
        wrong_sums[0] += !rows_agree(isa, softmax, &state, 1);
        wrong_sums[1] += !rows_agree(isa, norm, &state, 1);
    }
    CHECK(wrong_strides > TURNS / 2);
    CHECK(wrong_sums[0] > 0 && wrong_sums[1] > 0);
}

int main(void) {
    for (size_t n = 0; n < lf_isa_count(); n++)
        if (strcmp(lf_isa_name(n), "scalar") == 0)
            scalar = lf_isa_at(n);
    for (size_t n = 0; n < lf_isa_count(); n++) {
        if (lf_isa_missing(n, 0)) {
            printf("%s is not tested: this CPU lacks %s\n", lf_isa_name(n), lf_isa_missing(n, 0));
            continue;
        }
        check_elementwise(lf_isa_at(n));
        check_along(lf_isa_at(n));
        check_that_mistakes_show(lf_isa_at(n));
    }
    return check_failures("elements");
}
