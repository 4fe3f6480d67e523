/* The vector vocabulary, one lane wide: plain C, with fmaf for the one operation C has no sign for.
 */
#include <math.h>
#include <string.h>

#define LF_LANES 1
#define LF_WIDE_PANEL 2 /* so many narrow panels */
#define LF_HAS_NARROW_PANELS 0
#define LF_KEEPS_CONSTANTS 1 /* those of sigmoid and tanh are four bytes each in any case */
#define LF_LOADS_AT_ONCE 1   /* of one k, that may change their order */
#define LF_TILE_ROWS 2       /* times four gates, and an operand each, fit the registers */
#define LF_TILE_QUICKEST 2
#define LF_EACH_TILE LF_UP_TO_2

typedef float vf;
typedef int vm; /* a mask: 0 or 1 */

static inline uint32_t lf_bits(float a) {
    uint32_t bits;
    memcpy(&bits, &a, sizeof bits);
    return bits;
}
static inline float lf_float(uint32_t bits) {
    float a;
    memcpy(&a, &bits, sizeof a);
    return a;
}

static inline vf vf_load(const float *p) { return *p; }
static inline vf vf_load_any(const float *p) { /* any alignment */
    float a;
    memcpy(&a, (const void *)p, sizeof a);
    return a;
}
static inline void vf_store_any(float *p, vf a) { memcpy((void *)p, &a, sizeof a); }
/* The first count < LF_LANES lanes, the others being zeros; what is past them is not touched. */
static inline vf vf_load_some(const float *p, size_t count) {
    return count ? vf_load_any(p) : 0.0f;
}
static inline void vf_store_some(float *p, vf a, size_t count) {
    if (count)
        vf_store_any(p, a);
}
static inline void vf_store(float *p, vf a) { *p = a; }
static inline vf vf_set1(float a) { return a; }
/* In a loop over a vector: how it is read best. */
static inline vf vf_broadcast(const float *p) { return vf_set1(*p); }
static inline vf vf_add(vf a, vf b) { return a + b; }
static inline vf vf_sub(vf a, vf b) { return a - b; }
static inline vf vf_mul(vf a, vf b) { return a * b; }
static inline vf vf_div(vf a, vf b) { return a / b; }
static inline vf vf_sqrt(vf a) { return sqrtf(a); }
static inline vf vf_fma(vf a, vf b, vf c) { return fmaf(a, b, c); }
static inline vf vf_max(vf a, vf b) { return a > b ? a : b; }
static inline vf vf_min(vf a, vf b) { return a < b ? a : b; }
static inline vf vf_abs(vf a) { return lf_float(lf_bits(a) & 0x7FFFFFFFu); }
static inline vf vf_sign(vf a) { return lf_float(lf_bits(a) & 0x80000000u); }
static inline vf vf_or(vf a, vf b) { return lf_float(lf_bits(a) | lf_bits(b)); }
static inline vf vf_copysign(vf magnitude, vf sign) { return copysignf(magnitude, sign); }
static inline vf vf_shift_into_exponent(vf a) { return lf_float(lf_bits(a) << 23); }
static inline vm vf_less(vf a, vf b) { return a < b; }
static inline vm vf_not_less(vf a, vf b) { return !(a < b); }
static inline vf vf_keep(vm mask, vf a) { return mask ? a : 0.0f; }
static inline vm vf_is_nan(vf a) { return a != a; }
/* Is any lane NaN, or smaller than a normal number but not zero? */
static inline int vf_any_noncanonical(vf a) {
    return a != a || (lf_bits(a) << 1 != 0 && (lf_bits(a) << 1) < 0x01000000u);
}
/* Is any lane not finite? */
static inline int vf_any_nonfinite(vf a) { return !(vf_abs(a) < INFINITY); }
/* Where the mask is set; elsewhere it is `other`, or zero. */
static inline vf vf_div_where(vm mask, vf a, vf b, vf other) { return mask ? a / b : other; }
static inline vf vf_square_where(vm mask, vf a) {
    const vf some = vf_keep(mask, a); /* no product that isn't wanted: it may underflow */
    return some * some;
}
/* 2^(n/8), n + 8 * 127 being the low eleven bits of a. */
static inline vf vf_eighths_where(vm mask, vf a) {
    return mask ? lf_float((lf_bits(a) << 20) + lf_eighths[lf_bits(a) & 7u]) : 0.0f;
}
static inline vf vf_select(vm mask, vf yes, vf no) { return mask ? yes : no; }

/* 32-bit integers, their total, their largest, and 16-bit floats widened. Conversion rounds to nearest even. */
typedef int32_t vi;

static inline vi vi_load(const int32_t *p) { return *p; }
static inline void vi_store(int32_t *p, vi a) { *p = a; }
static inline vi vi_set1(int32_t a) { return a; }
static inline vi vi_add(vi a, vi b) { return a + b; }
static inline vi vi_sub(vi a, vi b) { return (int32_t)((uint32_t)a - (uint32_t)b); }
static inline vi vi_bits(vf a) { return (int32_t)lf_bits(a); }
static inline vf vf_of_bits(vi a) { return lf_float((uint32_t)a); }
/* a / 2^23, rounded down: of the bits of a number it is the exponent, with its bias. */
static inline vi vi_shift_from_exponent(vi a) { return a >> 23; }
static inline int32_t vi_total(vi a) { return a; }
/* The bits of magnitudes, which have the order of these; infinity and, above it, NaN included. */
static inline vi vi_magnitude(vf a) { return (int32_t)(lf_bits(a) & 0x7FFFFFFFu); }
static inline vi vi_max(vi a, vi b) { return a > b ? a : b; }
static inline int32_t vi_largest(vi a) { return a; }
static inline vf vf_from_int(vi a) { return (float)a; }
static inline vi vi_from_float(vf a) { return (int32_t)nearbyintf(a); }
static inline vf vf_load_float16(const uint16_t *p) {
    /* Moved to where float32 has its exponent, the value is 2^-112 of what it should be, subnormals
     * included; a multiplication by 2^112 is exact. Infinities and NaN are never packed. */
    uint32_t magnitude = (uint32_t)(*p & 0x7FFFu) << 13, sign = (uint32_t)(*p & 0x8000u) << 16;
    return lf_float(lf_bits(lf_float(magnitude) * 0x1p112f) | sign);
}
