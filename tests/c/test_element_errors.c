/*
 * How far formulas of whole models are from the truth, by the C library's double, over every 997th float and the edges.
 * Units are those of the result, and of x where the result may be a small difference. Bounds: lstm_fast.h has what was
 * measured over all floats; with gelu and hard_swish they are sums of the errors of their steps.
 */
#include "check.h"
#include "element_cases.h"

enum { STEP = 997, VECTOR = 64 };

typedef double (*truth)(double x);

static double truth_log(double x) { return log(x); }
static double truth_exp(double x) { return exp(x); }
static double truth_erf(double x) { return erf(x); }
static double truth_sqrt(double x) { return sqrt(x); }
static double reciprocal(double x) { return 1.0 / x; }
static double square(double x) { return x * x; }
static double softplus(double x) { return (x < 0 ? 0 : x) + log1p(exp(-fabs(x))); }
static double gelu(double x) { return x * (0.5 + 0.5 * erf(x / sqrt(2.0))); }
static double gelu_by_tanh(double x) {
    return x * (0.5 + 0.5 * tanh(0.79788456080286535588 * (x + 0.044715 * x * x * x)));
}
static double hard_swish(double x) {
    return isnan(x) ? x : x * fmin(fmax(x / 6.0 + 0.5, 0.0), 1.0);
}

static double unit_of(double value) {
    int exponent;
    (void)frexp(value, &exponent);
    return ldexp(1.0, exponent - 24);
}

/* What is below 2^-126 should be zero, and at the edge may be; beyond the largest float, infinity. */
static double error_of(float y, double wanted, double unit) {
    const double edge = 0x1p-126 * (1 + 0x1p-21), most = 0x1.ffffffp127;
    if (isnan(wanted) || isnan(y))
        return isnan(wanted) && isnan(y) ? 0 : INFINITY;
    if (fabs(wanted) < edge && y == 0.0f)
        return 0;
    if (fabs(wanted) < 0x1p-126 * (1 - 0x1p-21))
        return INFINITY;
    if (isinf(y))
        return wanted * y > 0 && fabs(wanted) >= most * (1 - 0x1p-21) ? 0 : INFINITY;
    return fabs(wanted) >= most
               ? (fabs((double)y) == 0x1.fffffep127 && !isinf(wanted) ? 1 : INFINITY)
               : fabs(y - wanted) / unit;
}

typedef struct formula {
    lf_operation_code code;
    int is_approximate, in_units_of_x;
    truth truth;
    double bound;
} formula;

static double worst_error(const lf_isa *isa, const formula *f) {
    const lf_elementwise op = {.code = f->code,
                               .is_approximate = f->is_approximate,
                               .loops = {.rank = 1, .sizes = {VECTOR}, .strides = {{1}, {1}, {0}}}};
    float x[VECTOR], y[VECTOR];
    double worst = 0;
    for (uint64_t first = 0; first < 0x100000000u; first += (uint64_t)VECTOR * STEP) {
        for (uint32_t j = 0; j < VECTOR; j++) {
            const uint32_t bits = (uint32_t)(first + (uint64_t)j * STEP);
            memcpy(&x[j], &bits, sizeof bits);
            if (first == 0 && j < SPECIAL_VALUES)
                x[j] = special_values[j];
            if (isnan(x[j]) || fabsf(x[j]) < 0x1p-126f)
                x[j] = isnan(x[j]) ? NAN : copysignf(0.0f, x[j]);
        }
        isa->unary(&op, y, x);
        for (uint32_t j = 0; j < VECTOR; j++) {
            const double wanted = f->truth(x[j]);
            const double error = error_of(y[j], wanted, unit_of(f->in_units_of_x ? x[j] : wanted));
            worst = error > worst ? error : worst;
        }
    }
    return worst;
}

static void check_formulas(const lf_isa *isa) {
    static const formula formulas[] = {
        {LF_OP_EXP, 0, 0, truth_exp, 1.1},       {LF_OP_LOG, 0, 0, truth_log, 1.6},
        {LF_OP_ERF, 0, 0, truth_erf, 1.1},       {LF_OP_SOFTPLUS, 0, 0, softplus, 2.2},
        {LF_OP_SQRT, 0, 0, truth_sqrt, 0.5},     {LF_OP_RECIPROCAL, 0, 0, reciprocal, 0.5},
        {LF_OP_SQUARE, 0, 0, square, 0.5},       {LF_OP_ABS, 0, 0, fabs, 0},
        {LF_OP_GELU, 0, 1, gelu, 2.1},           {LF_OP_GELU, 1, 1, gelu_by_tanh, 3.1},
        {LF_OP_HARD_SWISH, 0, 1, hard_swish, 2},
    };
    for (size_t n = 0; n < sizeof formulas / sizeof *formulas; n++) {
        const double worst = worst_error(isa, &formulas[n]);
        printf("%s, operation %d: %.3f units\n", isa->name, (int)formulas[n].code, worst);
        CHECK(worst <= formulas[n].bound);
    }
}

/* The exponents that a power near the limits of floats allows, and small ones. */
static double worst_power(const lf_isa *isa, int is_moderate, uint32_t *state) {
    const lf_elementwise op = {.code = LF_OP_POW,
                               .loops = {.rank = 1, .sizes = {VECTOR}, .strides = {{1}, {1}, {1}}}};
    float a[VECTOR], b[VECTOR], y[VECTOR];
    double worst = 0;
    for (int turn = 0; turn < 10000; turn++) {
        for (int j = 0; j < VECTOR; j++) {
            const float spread = turn % 3 == 0 ? 252.0f : turn % 3 == 1 ? 8.0f : 0.5f;
            const float log = pseudo_random(state) * spread;
            const float most = fminf(is_moderate ? 8.0f : 1e30f, 128.0f / fabsf(log));
            a[j] = (float)exp2(log);
            b[j] = 2 * pseudo_random(state) * most;
        }
        isa->binary(&op, y, a, b);
        for (int j = 0; j < VECTOR; j++) {
            const double wanted = (double)powl(a[j], b[j]);
            const double error = error_of(y[j], wanted, unit_of(wanted));
            worst = error > worst ? error : worst;
        }
    }
    return worst;
}

/* Signs, zeros, infinities and NaN are those of C's pow. */
static void check_special_powers(const lf_isa *isa) {
    const lf_elementwise op = {.code = LF_OP_POW,
                               .loops = {.rank = 1, .sizes = {1}, .strides = {{1}, {1}, {1}}}};
    for (int i = 0; i < SPECIAL_VALUES; i++)
        for (int j = 0; j < SPECIAL_VALUES; j++) {
            const float a = special_values[i], b = special_values[j];
            const double wanted = pow(a, b);
            float y = 0.0f;
            isa->binary(&op, &y, &a, &b);
            CHECK(error_of(y, wanted, unit_of(wanted)) <= 6.0);
            CHECK(isnan(wanted) || !signbit(wanted) == !signbit(y));
        }
}

int main(void) {
    const lf_isa *best = NULL;
    uint32_t state = 3;
    for (size_t n = lf_isa_count(); n-- > 0;)
        best = lf_isa_missing(n, 0) ? best : lf_isa_at(n);
    check_formulas(best);
    check_special_powers(best);
    CHECK(worst_power(best, 1, &state) <= 1.2);
    CHECK(worst_power(best, 0, &state) <= 6.0);
    /* negative control: the other gelu, which differs by much less than people see */
    const formula other = {LF_OP_GELU, 1, 1, gelu, 0};
    CHECK(worst_error(best, &other) > 3.1);
    return check_failures("element errors");
}
