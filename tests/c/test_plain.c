/* Plain operations of whole models against single elements, one index at a time, through loops of all kinds. */
#include "check.h"
#include "element_cases.h"
#include "program/plain.h"

enum { TURNS = 60, KINDS = LF_KIND_BOOL + 1 };

typedef union values {
    unsigned char bools[MOST_ELEMENTS];
    float floats[MOST_ELEMENTS];
    int64_t ints[MOST_ELEMENTS];
} values;

static const int64_t special_ints[] = {0, 1, -1, 2, 16777217, -16777219, INT64_MAX, INT64_MIN};

static void fill(values *v, lf_kind kind, uint32_t *state) {
    for (size_t j = 0; j < MOST_ELEMENTS; j++)
        if (kind == LF_KIND_FLOAT32)
            v->floats[j] = next_value(state);
        else if (kind == LF_KIND_INT64)
            v->ints[j] = special_ints[below(state, 8)];
        else
            v->bools[j] = (unsigned char)below(state, 2);
}

/* -1, 0 or 1; 2 where one is NaN. */
static int order(lf_kind kind, const values *a, ptrdiff_t i, const values *b, ptrdiff_t j) {
    switch (kind) {
    case LF_KIND_FLOAT32:
        if (isnan(a->floats[i]) || isnan(b->floats[j]))
            return 2;
        return (a->floats[i] > b->floats[j]) - (a->floats[i] < b->floats[j]);
    case LF_KIND_INT64:
        return (a->ints[i] > b->ints[j]) - (a->ints[i] < b->ints[j]);
    case LF_KIND_BOOL:
        return a->bools[i] - b->bools[j];
    }
    return 2;
}

static int64_t cut_off(float x) {
    return x >= -9223372036854775808.0f && x < 9223372036854775808.0f ? (int64_t)x : INT64_MIN;
}

static void cast_one(lf_kind to, values *y, ptrdiff_t i, lf_kind from, const values *x,
                     ptrdiff_t j) {
    const float real = from == LF_KIND_FLOAT32 ? x->floats[j]
                       : from == LF_KIND_INT64 ? (float)x->ints[j]
                                               : (float)x->bools[j];
    const int64_t whole = from == LF_KIND_FLOAT32 ? cut_off(x->floats[j])
                          : from == LF_KIND_INT64 ? x->ints[j]
                                                  : x->bools[j];
    switch (to) {
    case LF_KIND_FLOAT32:
        y->floats[i] = real;
        break;
    case LF_KIND_INT64:
        y->ints[i] = whole;
        break;
    case LF_KIND_BOOL:
        y->bools[i] = real != 0.0f;
        break;
    }
}

static lf_kind kind_of_operand(const lf_plain *op, int n) {
    return op->code == LF_OP_WHERE && n == 0 ? LF_KIND_BOOL : op->from;
}

static void compute_one(const lf_plain *op, values *y, const values *const *x,
                        const ptrdiff_t *at) {
    const size_t bytes = op->element_bytes;
    const int compared = op->code >= LF_OP_LESS && op->code <= LF_OP_EQUAL
                             ? order(op->from, x[0], at[1], x[1], at[2])
                             : 2;
    const int which = op->kind == LF_PLAIN_COPY ? 0 : x[0]->bools[at[1]] ? 1 : 2;
    if (op->kind == LF_PLAIN_CAST) {
        cast_one(op->to, y, at[0], op->from, x[0], at[1]);
        return;
    }
    if (op->kind == LF_PLAIN_FILL) {
        y->floats[at[0]] = op->value;
        return;
    }
    if (op->kind == LF_PLAIN_COPY || op->code == LF_OP_WHERE) {
        memcpy((char *)y + at[0] * (ptrdiff_t)bytes,
               (const char *)x[which] + at[1 + which] * (ptrdiff_t)bytes, bytes);
        return;
    }
    switch (op->code) {
    case LF_OP_LESS:
        y->bools[at[0]] = compared == -1;
        break;
    case LF_OP_GREATER:
        y->bools[at[0]] = compared == 1;
        break;
    case LF_OP_EQUAL:
        y->bools[at[0]] = compared == 0;
        break;
    case LF_OP_LOGICAL_AND:
        y->bools[at[0]] = x[0]->bools[at[1]] && x[1]->bools[at[2]];
        break;
    case LF_OP_LOGICAL_OR:
        y->bools[at[0]] = x[0]->bools[at[1]] || x[1]->bools[at[2]];
        break;
    case LF_OP_LOGICAL_NOT:
        y->bools[at[0]] = !x[0]->bools[at[1]];
        break;
    default: /* this program tries no others */
        CHECK(0);
        break;
    }
}

/* Loops of random sizes and strides, and where each element of each operand is. */
typedef struct walk_case {
    ptrdiff_t first[LF_MAX_OPERANDS];
    ptrdiff_t at[LF_MAX_OPERANDS][MOST_ELEMENTS];
    size_t count;
} walk_case;

static void make_case(uint32_t *state, lf_loops *loops, walk_case *made) {
    random_sizes(state, 3, 60, loops);
    for (uint32_t n = 0; n < LF_MAX_OPERANDS; n++) {
        made->first[n] = random_strides(state, loops, n > 0, loops->strides[n]);
        made->count = list_elements(loops, n, made->at[n]);
        for (size_t j = 0; j < made->count; j++)
            made->at[n][j] += made->first[n];
    }
}

/* wrong: the operands are others when it is called, as a negative control. */
static int agrees(lf_plain op, uint32_t *state, int wrong) {
    static values y, expected, x[3];
    static walk_case c;
    const values *const operands[3] = {&x[0], &x[1], &x[2]};
    const void *inputs[3];
    make_case(state, &op.loops, &c);
    for (int n = 0; n < 3; n++)
        fill(&x[n], kind_of_operand(&op, n), state);
    memset(&y, 0x55, sizeof y);
    memset(&expected, 0x55, sizeof expected);
    for (size_t j = 0; j < c.count; j++) {
        ptrdiff_t at[LF_MAX_OPERANDS];
        for (int n = 0; n < LF_MAX_OPERANDS; n++)
            at[n] = c.at[n][j];
        compute_one(&op, &expected, operands, at);
    }
    for (int n = 0; n < 3; n++) {
        if (wrong)
            fill(&x[n], kind_of_operand(&op, n), state);
        inputs[n] = (const char *)&x[n] +
                    c.first[n + 1] * (ptrdiff_t)lf_kind_bytes(kind_of_operand(&op, n));
    }
    CHECK(lf_run_plain(&op, (char *)&y + c.first[0] * (ptrdiff_t)lf_kind_bytes(op.to), inputs) ==
          LF_OK);
    return same_bits(&y, &expected, sizeof y);
}

static int differing;

static void check_operation(lf_plain op, uint32_t *state) {
    op.element_bytes = lf_kind_bytes(op.to);
    for (int turn = 0; turn < TURNS; turn++) {
        CHECK(agrees(op, state, 0));
        differing += !agrees(op, state, 1);
    }
}

static void check_operations(void) {
    uint32_t state = 1;
    const lf_plain fill_one = {.kind = LF_PLAIN_FILL, .value = -2.5f};
    check_operation(fill_one, &state);
    CHECK(differing == 0);
    for (int from = 0; from < KINDS; from++) {
        lf_plain op = {.kind = LF_PLAIN_COPY, .from = (lf_kind)from, .to = (lf_kind)from};
        check_operation(op, &state);
        op.kind = LF_PLAIN_LOGIC;
        op.code = LF_OP_WHERE;
        check_operation(op, &state);
        op.to = LF_KIND_BOOL;
        for (int code = LF_OP_LESS; code <= LF_OP_EQUAL; code++) {
            op.code = (lf_operation_code)code;
            check_operation(op, &state);
        }
        op.kind = LF_PLAIN_CAST;
        for (int to = 0; to < KINDS; to++) {
            op.to = (lf_kind)to;
            check_operation(op, &state);
        }
    }
    for (int code = LF_OP_LOGICAL_AND; code <= LF_OP_LOGICAL_NOT; code++) {
        const lf_plain op = {.kind = LF_PLAIN_LOGIC,
                             .code = (lf_operation_code)code,
                             .from = LF_KIND_BOOL,
                             .to = LF_KIND_BOOL};
        check_operation(op, &state);
    }
    CHECK(differing > 10 * TURNS); /* the control: of 24 operations that read anything */
}

static void check_copies_of_loops(void) {
    static values y, x;
    static walk_case c;
    uint32_t state = 2;
    lf_loops loops;
    for (int turn = 0; turn < TURNS; turn++) {
        make_case(&state, &loops, &c);
        fill(&x, LF_KIND_INT64, &state);
        memset(&y, 0x55, sizeof y);
        lf_copy_loops(&loops, sizeof(int64_t), y.ints + c.first[0], x.ints + c.first[1]);
        for (size_t j = 0; j < c.count; j++) {
            CHECK(y.ints[c.at[0][j]] == x.ints[c.at[1][j]]);
            memset(&y.ints[c.at[0][j]], 0x55, sizeof(int64_t));
        }
        for (size_t j = 0; j < MOST_ELEMENTS; j++)
            CHECK(y.ints[j] == 0x5555555555555555);
    }
}

/* ---- rows by their indices ---- */

/* y[j][n] = table[indices[n]][j], of two by two indices that lie apart. */
static const lf_plain transposed_rows = {
    .kind = LF_PLAIN_ROWS,
    .element_bytes = sizeof(float),
    .loops = {.rank = 2, .sizes = {2, 2}, .strides = {{2, 1}, {3, 1}}},
    .inner = {.rank = 1, .sizes = {3}, .strides = {{4}, {1}}},
    .rows = 4,
    .row_step = 3,
};

static void check_rows(void) {
    const float table[4][3] = {{0, 1, 2}, {3, 4, 5}, {6, 7, 8}, {9, 10, 11}};
    const int64_t good[5] = {-1, 0, 99, 2, -4}; /* the middle one is none of them */
    const int64_t beyond[] = {4, -5, INT64_MIN, INT64_MAX};
    float y[3][4];
    const void *inputs[2] = {table, good};
    CHECK(lf_run_plain(&transposed_rows, y, inputs) == LF_OK);
    for (int n = 0; n < 4; n++)
        for (int j = 0; j < 3; j++)
            CHECK(y[j][n] == table[(good[n < 2 ? n : n + 1] + 4) % 4][j]);
    for (size_t wrong = 0; wrong < 4 * sizeof beyond / sizeof *beyond; wrong++) {
        int64_t indices[5];
        memcpy(indices, good, sizeof indices);
        indices[wrong % 4 < 2 ? wrong % 4 : wrong % 4 + 1] = beyond[wrong / 4];
        inputs[1] = indices;
        memset(y, 0x55, sizeof y);
        CHECK(lf_run_plain(&transposed_rows, y, inputs) == LF_ERR_INDEX);
        for (size_t n = 0; n < sizeof y; n++)
            CHECK(((const unsigned char *)y)[n] == 0x55);
    }
}

/* Where indices are known to be good none is looked at; a table may be backwards. */
static void check_rows_backwards(void) {
    const float table[3] = {7, 8, 9};
    const int64_t index = -3; /* the first from the end */
    const lf_plain op = {.kind = LF_PLAIN_ROWS,
                         .element_bytes = sizeof(float),
                         .loops = {.rank = 1, .sizes = {1}, .strides = {{1}}},
                         .inner = {.rank = 1, .sizes = {1}, .strides = {{1}}},
                         .rows = 3,
                         .row_step = -1,
                         .is_checked = 1};
    const void *const inputs[2] = {table + 2, &index};
    float y = 0;
    CHECK(lf_run_plain(&op, &y, inputs) == LF_OK && y == 9);
}

int main(void) {
    check_operations();
    check_copies_of_loops();
    check_rows();
    check_rows_backwards();
    return check_failures("plain");
}
