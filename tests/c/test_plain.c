/* Plain operations of whole models against single elements, one index at a time, through views of all kinds. */
#include "check.h"
#include "element_cases.h"
#include "program/plain.h"

enum { TURNS = 400 };

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

static void one_element(const lf_plain *op, values *y, const values *const *x,
                        const ptrdiff_t *at) {
    const size_t bytes = lf_kind_bytes(op->kind);
    const int compared = op->code <= LF_OP_EQUAL ? order(op->kind, x[0], at[1], x[1], at[2]) : 2;
    const char *from;
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
    case LF_OP_WHERE:
        from = (const char *)(x[0]->bools[at[1]] ? x[1] : x[2]);
        from += (x[0]->bools[at[1]] ? at[2] : at[3]) * (ptrdiff_t)bytes;
        memcpy((char *)y + at[0] * (ptrdiff_t)bytes, from, bytes);
        break;
    case LF_OP_CAST:
        cast_one(op->kind_of_result, y, at[0], op->kind, x[0], at[1]);
        break;
    default: /* a copy */
        from = (const char *)x[0] + at[1] * (ptrdiff_t)bytes;
        memcpy((char *)y + at[0] * (ptrdiff_t)bytes, from, bytes);
        break;
    }
}

static lf_kind kind_of_input(const lf_plain *op, int n) {
    const int is_logic = op->code >= LF_OP_LOGICAL_AND && op->code <= LF_OP_LOGICAL_NOT;
    return is_logic || (op->code == LF_OP_WHERE && n == 0) ? LF_KIND_BOOL : op->kind;
}

/* wrong: what is changed in an operand before the call, as a negative control. */
static int plain_agrees(lf_plain op, uint32_t *state, int wrong) {
    static values y, expected, x[3];
    static ptrdiff_t all[LF_MAX_OPERANDS][MOST_ELEMENTS];
    const values *const operands[3] = {&x[0], &x[1], &x[2]};
    ptrdiff_t first[LF_MAX_OPERANDS];
    size_t count = 0;
    random_sizes(state, 3, 60, &op.loops);
    for (uint32_t n = 0; n < LF_MAX_OPERANDS; n++) {
        first[n] = random_strides(state, &op.loops, n > 0, op.loops.strides[n]);
        count = list_elements(&op.loops, n, all[n]);
    }
    for (int n = 0; n < 3; n++)
        fill(&x[n], kind_of_input(&op, n), state);
    memset(&y, 0x55, sizeof y);
    memset(&expected, 0x55, sizeof expected);
    for (size_t j = 0; j < count; j++) {
        ptrdiff_t at[LF_MAX_OPERANDS];
        for (int n = 0; n < LF_MAX_OPERANDS; n++)
            at[n] = first[n] + all[n][j];
        one_element(&op, &expected, operands, at);
    }
    if (wrong)
        memset(&x[0], 1, sizeof x[0]);
    const int is_bool = (op.code >= LF_OP_LESS && op.code <= LF_OP_LOGICAL_NOT);
    const lf_kind result = is_bool                 ? LF_KIND_BOOL
                           : op.code == LF_OP_CAST ? op.kind_of_result
                                                   : op.kind;
    const void *inputs[3];
    for (int n = 0; n < 3; n++)
        inputs[n] =
            (const char *)&x[n] + first[n + 1] * (ptrdiff_t)lf_kind_bytes(kind_of_input(&op, n));
    CHECK(lf_run_plain(&op, (char *)&y + first[0] * (ptrdiff_t)lf_kind_bytes(result), inputs) ==
          LF_OK);
    return same_bits(&y, &expected, sizeof y);
}

static void check_plain(void) {
    static const lf_operation_code codes[] = {
        LF_OP_LESS,        LF_OP_GREATER, LF_OP_EQUAL, LF_OP_LOGICAL_AND, LF_OP_LOGICAL_OR,
        LF_OP_LOGICAL_NOT, LF_OP_WHERE,   LF_OP_CAST,  LF_OP_TRANSPOSE};
    uint32_t state = 1;
    int differ = 0;
    for (size_t n = 0; n < sizeof codes / sizeof *codes; n++)
        for (int turn = 0; turn < TURNS; turn++) {
            lf_plain op = {.code = codes[n], .kind = (lf_kind)(turn % 3)};
            op.kind_of_result = (lf_kind)(turn / 3 % 3);
            CHECK(plain_agrees(op, &state, 0));
            differ += !plain_agrees(op, &state, 1);
        }
    CHECK(differ > TURNS);
}

static void check_gather(void) {
    const float table[4][3] = {{0, 1, 2}, {3, 4, 5}, {6, 7, 8}, {9, 10, 11}};
    const int64_t indices[] = {-1, 0, 2, -4}, beyond[][2] = {{0, 4}, {-5, 1}, {0, INT64_MIN}};
    const lf_plain op = {.code = LF_OP_EMBEDDING,
                         .kind = LF_KIND_FLOAT32,
                         .loops = {.rank = 1, .sizes = {3}, .strides = {{4}, {1}}},
                         .gather = {.count = 4, .rows = 4, .y_step = 1, .x_step = 3}};
    float y[3][4]; /* the transpose of what it usually is */
    const void *inputs[2] = {table, indices};
    CHECK(lf_run_plain(&op, y, inputs) == LF_OK);
    for (int n = 0; n < 4; n++)
        for (int j = 0; j < 3; j++)
            CHECK(y[j][n] == table[(indices[n] + 4) % 4][j]);
    for (int n = 0; n < 3; n++) {
        lf_plain two = op;
        two.gather.count = 2;
        y[0][0] = y[0][1] = -7.0f;
        inputs[1] = beyond[n];
        CHECK(lf_run_plain(&two, y, inputs) == LF_ERR_INDEX);
        CHECK(y[0][0] == -7.0f && y[0][1] == -7.0f);
    }
}

/* The index in x that an index of a padded axis stands for; -1 where it is padding. */
static int source_of(int index, int before, int size, int is_reflected) {
    const int at = index - before;
    if (at >= 0 && at < size)
        return at;
    return !is_reflected ? -1 : at < 0 ? -at : 2 * (size - 1) - at;
}

static void check_pad(int is_reflected) {
    const lf_shape shape = {.rank = 3, .sizes = {2, 4, 3}};
    const int32_t before[3] = {1, 0, 2}, after[3] = {0, 3, 1};
    const int32_t x_strides[3] = {12, 1, 4}, y_strides[3] = {42, 6, 1};
    const lf_padding padding = {before, after, is_reflected, -5.0f};
    float x[24], y[3 * 42];
    lf_plain op;
    for (int j = 0; j < 24; j++)
        x[j] = (float)j;
    memset(y, 0x55, sizeof y);
    CHECK(lf_plan_pad(&padding, &shape, x_strides, y_strides, &op) == LF_OK);
    const void *inputs[1] = {x};
    CHECK(lf_run_plain(&op, y, inputs) == LF_OK);
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 7; j++)
            for (int k = 0; k < 6; k++) {
                const int a = source_of(i, 1, 2, is_reflected),
                          b = source_of(j, 0, 4, is_reflected);
                const int c = source_of(k, 2, 3, is_reflected);
                const float wanted = a < 0 || b < 0 || c < 0 ? -5.0f : x[12 * a + b + 4 * c];
                CHECK(y[42 * i + 6 * j + k] == wanted);
            }
    lf_plain_destroy(&op);
    CHECK(!op.pad);
}

int main(void) {
    check_plain();
    check_gather();
    check_pad(0);
    check_pad(1);
    return check_failures("plain");
}
