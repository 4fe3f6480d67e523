/*
 * Each word of the vector vocabulary against plain C, lane by lane, on every pair of awkward
 * values. Included inside a target region, after a vec_<isa>.h.
 */
static const float awkward[] = {0.0f,       -0.0f,       1.0f,          -1.0f,     1.5f,
                                -2.75f,     1e-30f,      -3e38f,        3e38f,     INFINITY,
                                -INFINITY,  NAN,         -NAN,          0x1p-126f, 0x1p-127f,
                                -0x1p-149f, 12582912.0f, 0x1.8000FEp23f};
enum { AWKWARD = sizeof awkward / sizeof *awkward };

static uint32_t bits_of(float a) {
    uint32_t bits;
    memcpy(&bits, &a, sizeof bits);
    return bits;
}
static float float_of(uint32_t bits) {
    float a;
    memcpy(&a, &bits, sizeof a);
    return a;
}
static int same(float a, float b) { return bits_of(a) == bits_of(b) || (a != a && b != b); }

static void check_lanes(vf result, const float *expected) {
    _Alignas(64) float lanes[LF_LANES];
    vf_store(lanes, result);
    for (int lane = 0; lane < LF_LANES; lane++)
        CHECK(same(lanes[lane], expected[lane]));
}

/* In integers the order is that of the magnitudes, with NaN, whatever its sign, above all others. */
static void check_magnitudes(const float *a, const float *b) {
    _Alignas(64) int32_t lanes[LF_LANES];
    int32_t largest = 0;
    vi_store(lanes, vi_max(vi_magnitude(vf_load(a)), vi_magnitude(vf_load(b))));
    for (int lane = 0; lane < LF_LANES; lane++) {
        const float x = fabsf(a[lane]), y = fabsf(b[lane]);
        CHECK(lanes[lane] == (int32_t)bits_of(x != x || x > y ? x : y));
        largest = lanes[lane] > largest ? lanes[lane] : largest;
    }
    CHECK(vi_largest(vi_load(lanes)) == largest);
}

/* Every lane holds another value, so that a lane that moves is seen. */
static void check_vector_operations(void) {
    _Alignas(64) float a[LF_LANES], b[LF_LANES], c[LF_LANES], e[LF_LANES];
    for (int shift = 0; shift < AWKWARD * AWKWARD; shift++) {
        for (int lane = 0; lane < LF_LANES; lane++) {
            a[lane] = awkward[(shift + lane) % AWKWARD];
            b[lane] = awkward[(shift / AWKWARD + 3 * lane) % AWKWARD];
            c[lane] = awkward[(shift + 5 * lane + 1) % AWKWARD];
        }
        const vf va = vf_load(a), vb = vf_load(b), vc = vf_load(c);
#define EXPECT(result, expression)                                                                 \
    for (int j = 0; j < LF_LANES; j++)                                                             \
        e[j] = (expression);                                                                       \
    check_lanes(result, e)
        EXPECT(va, a[j]);
        EXPECT(vf_set1(b[0]), b[0]);
        EXPECT(vf_broadcast(c + LF_LANES - 1), c[LF_LANES - 1]);
        EXPECT(vf_add(va, vb), a[j] + b[j]);
        EXPECT(vf_sub(va, vb), a[j] - b[j]);
        EXPECT(vf_mul(va, vb), a[j] * b[j]);
        EXPECT(vf_div(va, vb), a[j] / b[j]);
        EXPECT(vf_sqrt(va), sqrtf(a[j]));
        EXPECT(vf_keep(vf_less(va, vb), vc), a[j] < b[j] ? c[j] : 0.0f);
        EXPECT(vf_of_bits(vi_bits(va)), a[j]);
        EXPECT(vf_of_bits(vi_sub(vi_bits(va), vi_bits(vb))),
               float_of(bits_of(a[j]) - bits_of(b[j])));
        EXPECT(vf_from_int(vi_shift_from_exponent(vi_bits(va))),
               floorf(ldexpf((float)((int32_t)bits_of(a[j]) / 256 * 256), -23)));
        EXPECT(vf_fma(va, vb, vc), fmaf(a[j], b[j], c[j]));
        EXPECT(vf_max(va, vb), a[j] > b[j] ? a[j] : b[j]);
        EXPECT(vf_min(va, vb), a[j] < b[j] ? a[j] : b[j]);
        EXPECT(vf_copysign(va, vb), copysignf(a[j], b[j]));
        EXPECT(vf_abs(va), fabsf(a[j]));
        EXPECT(vf_sign(va), copysignf(0.0f, a[j]));
        EXPECT(vf_or(va, vb), float_of(bits_of(a[j]) | bits_of(b[j])));
        EXPECT(vf_shift_into_exponent(va), float_of(bits_of(a[j]) << 23));
        EXPECT(vf_select(vf_less(va, vb), va, vc), a[j] < b[j] ? a[j] : c[j]);
        EXPECT(vf_select(vf_is_nan(va), vb, vc), a[j] != a[j] ? b[j] : c[j]);
        EXPECT(vf_square_where(vf_not_less(va, vb), vc), a[j] < b[j] ? 0.0f : c[j] * c[j]);
        EXPECT(vf_div_where(vf_not_less(va, vb), va, vb, vc), a[j] < b[j] ? c[j] : a[j] / b[j]);
        check_magnitudes(a, b);
    }
}

/* Every power of the eighth root of two that is a normal number, to the nearest float. */
static void check_eighths(void) {
    _Alignas(64) float a[LF_LANES], b[LF_LANES], e[LF_LANES];
    for (int n = -8 * 126; n < 8 * 128; n++) {
        for (int lane = 0; lane < LF_LANES; lane++) {
            const int of_lane =
                n + lane < 8 * 128 ? n + lane : n; /* lanes next to each other differ */
            a[lane] = 0x1.8007Fp23f + (float)of_lane;
            b[lane] = lane % 3 == 0 ? NAN : 1.0f;
            e[lane] = lane % 3 == 0 ? 0.0f : (float)exp2(of_lane / 8.0);
        }
        const vf vb = vf_load(b);
        check_lanes(vf_eighths_where(vf_less(vb, vf_set1(2.0f)), vf_load(a)), e);
        for (int lane = 0; lane < LF_LANES; lane++)
            e[lane] = lane % 3 == 0 ? (float)exp2((a[lane] - 0x1.8007Fp23f) / 8.0) : 0.0f;
        check_lanes(vf_eighths_where(vf_is_nan(vb), vf_load(a)), e);
    }
}

/* A single lane that is non-canonical, or not finite, is seen wherever it is; and no other is taken for one. */
static void check_questions(void) {
    _Alignas(64) float lanes[LF_LANES];
    for (int n = 0; n < AWKWARD; n++) {
        for (int lane = 0; lane < LF_LANES; lane++) {
            for (int j = 0; j < LF_LANES; j++)
                lanes[j] = j == lane ? awkward[n] : j % 2 ? -0.0f : 0x1p-126f;
            const int kind = fpclassify(awkward[n]);
            const vf a = vf_load(lanes);
            CHECK(!vf_any_noncanonical(a) == (kind != FP_SUBNORMAL && kind != FP_NAN));
            CHECK(!vf_any_nonfinite(a) == (kind != FP_INFINITE && kind != FP_NAN));
        }
    }
}

/* Part of a vector: no lane past it is read or written, wherever that would be. */
static void check_parts(void) {
    float from[LF_LANES + 1], to[LF_LANES + 1];
    _Alignas(64) float e[LF_LANES];
    for (size_t count = 0; count < LF_LANES; count++) {
        for (size_t j = 0; j <= LF_LANES; j++) {
            from[j] = (float)j + 1;
            to[j] = -1;
        }
        for (size_t j = 0; j < LF_LANES; j++)
            e[j] = j < count ? from[j + 1] : 0;
        const vf part = vf_load_some(from + 1, count);
        check_lanes(part, e);
        vf_store_some(to + 1, part, count);
        for (size_t j = 0; j <= LF_LANES; j++)
            CHECK(to[j] == (j >= 1 && j <= count ? from[j] : -1));
    }
}

/* Every float16 that is a number, and integers on both sides of where floats get coarse. */
static void check_conversions(void) {
    _Alignas(64) uint16_t halves[LF_LANES];
    _Alignas(64) int32_t ints[LF_LANES];
    _Alignas(64) float e[LF_LANES];
    for (uint32_t first = 0; first < 0x10000; first += LF_LANES) {
        for (uint32_t lane = 0; lane < LF_LANES; lane++) {
            const uint32_t bits = first + lane, exponent = bits >> 10 & 31u;
            const float mantissa = (float)((bits & 1023u) + (exponent ? 1024u : 0u));
            halves[lane] = (uint16_t)bits;
            e[lane] =
                ldexpf(bits & 0x8000u ? -mantissa : mantissa, (int)(exponent ? exponent : 1) - 25);
            ints[lane] = (int32_t)(bits * 123457u - 16777216u);
        }
        if ((first >> 10 & 31u) != 31)
            check_lanes(vf_load_float16(halves), e);
        for (int lane = 0; lane < LF_LANES; lane++)
            e[lane] = (float)ints[lane];
        check_lanes(vf_from_int(vi_load(ints)), e);
        for (int lane = 0; lane < LF_LANES; lane++)
            e[lane] = (float)(ints[lane] % 1000) * 0.25f; /* ties, too */
        vi_store(ints, vi_from_float(vf_load(e)));
        for (int lane = 0; lane < LF_LANES; lane++)
            CHECK(ints[lane] == (int32_t)nearbyintf(e[lane]));
        int32_t total = 0;
        for (int lane = 0; lane < LF_LANES; lane++)
            total += ints[lane] + 7;
        CHECK(vi_total(vi_add(vi_load(ints), vi_set1(7))) == total);
    }
}

/* The extremes, which is where a 16-bit sum would saturate, and everything else at random. */
static void check_int8_dot(void) {
    _Alignas(64) char weights[LF_LANES * LF_INT8_GROUP];
    int whole[LF_LANES * LF_INT8_GROUP];
    _Alignas(64) lf_quant operand[64];
    _Alignas(64) int32_t sums[LF_LANES], values[64];
    uint32_t state = 1;
    for (int turn = 0; turn < 2000; turn++) {
        for (int j = 0; j < LF_LANES * LF_INT8_GROUP; j++) {
            state = state * 1664525u + 1013904223u;
            whole[j] = turn < 2 ? 127 - 254 * turn : (int)(state >> 16) % 255 - 127;
            weights[j] = (char)(whole[j] + LF_INT8_OFFSET);
        }
        for (int j = 0; j < 64; j++) {
            state = state * 1664525u + 1013904223u;
            values[j] = turn < 2 ? 127 : (int)(state >> 16) % 255 - 127;
        }
        for (int j = 0; j + LF_LANES <= 64; j += LF_LANES)
            vi_store_quant(operand + j, vi_load(values + j));
        for (int lane = 0; lane < LF_LANES; lane++)
            sums[lane] = turn - 1000;
        vi_store(sums, vi_dot(vi_load(sums), weights, vi_broadcast(operand)));
        for (int lane = 0; lane < LF_LANES; lane++) {
            int32_t expected = turn - 1000;
            for (int k = 0; k < LF_INT8_GROUP; k++)
                expected += (whole[lane * LF_INT8_GROUP + k] + LF_INT8_OFFSET) * values[k];
            CHECK(sums[lane] == expected);
        }
    }
}
