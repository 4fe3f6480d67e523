/* The vector vocabulary in Advanced SIMD of ARMv8-A: four lanes. Their meaning: vec_scalar.h, in C. */
#define LF_LANES 4
#define LF_WIDE_PANEL 4 /* so many narrow panels: sixteen chains, for cores with four fma units */
#define LF_HAS_NARROW_PANELS 0
#define LF_KEEPS_CONSTANTS 0
#define LF_LOADS_AT_ONCE 2 /* of which compilers make one instruction */
#define LF_TILE_ROWS 4     /* times four gates, and an operand each, fit the registers */
#define LF_TILE_QUICKEST 4
#define LF_EACH_TILE LF_UP_TO_4

typedef float32x4_t vf;
typedef uint32x4_t vm; /* a mask: all bits of a lane, or none */

static inline vf vf_load(const float *p) { return vld1q_f32(p); }
static inline vf vf_load_any(const float *p) {
    vf a;
    memcpy(&a, (const void *)p, sizeof a);
    return a;
}
static inline void vf_store_any(float *p, vf a) { memcpy((void *)p, &a, sizeof a); }
static inline vf vf_load_some(const float *p, size_t count) {
    float32x2_t pair = vdup_n_f32(0.0f);
    float last = 0.0f;
    if (count & 2)
        memcpy(&pair, (const void *)p, sizeof pair);
    if (count & 1)
        memcpy(&last, (const void *)(p + (count & 2)), sizeof last);
    const float32x2_t single = vset_lane_f32(last, vdup_n_f32(0.0f), 0);
    return count & 2 ? vcombine_f32(pair, single) : vcombine_f32(single, pair);
}
static inline void vf_store_some(float *p, vf a, size_t count) {
    const float32x2_t pair = vget_low_f32(a);
    const float last = count & 2 ? vgetq_lane_f32(a, 2) : vgetq_lane_f32(a, 0);
    if (count & 2)
        memcpy((void *)p, &pair, sizeof pair);
    if (count & 1)
        memcpy((void *)(p + (count & 2)), &last, sizeof last);
}
static inline void vf_store(float *p, vf a) { vst1q_f32(p, a); }
static inline vf vf_set1(float a) { return vdupq_n_f32(a); }
static inline vf vf_broadcast(const float *p) {
    vf a = vdupq_n_f32(*p);
    __asm__("" : "+w"(a)); /* or GCC multiplies by a lane of it here, and by a copy of that there */
    return a;
}
static inline vf vf_add(vf a, vf b) { return vaddq_f32(a, b); }
static inline vf vf_sub(vf a, vf b) { return vsubq_f32(a, b); }
static inline vf vf_mul(vf a, vf b) { return vmulq_f32(a, b); }
static inline vf vf_div(vf a, vf b) { return vdivq_f32(a, b); }
static inline vf vf_sqrt(vf a) { return vsqrtq_f32(a); }
static inline vf vf_fma(vf a, vf b, vf c) { return vfmaq_f32(c, a, b); }
/* Where one is NaN, FMAX and FMIN give NaN; these give b. */
static inline vf vf_max(vf a, vf b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
static inline vf vf_min(vf a, vf b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
static inline uint32x4_t vf_raw(vf a) { return vreinterpretq_u32_f32(a); }
static inline vf vf_of_raw(uint32x4_t a) { return vreinterpretq_f32_u32(a); }
static inline vf vf_abs(vf a) { return vabsq_f32(a); }
static inline vf vf_sign(vf a) { return vf_of_raw(vandq_u32(vdupq_n_u32(0x80000000u), vf_raw(a))); }
static inline vf vf_or(vf a, vf b) { return vf_of_raw(vorrq_u32(vf_raw(a), vf_raw(b))); }
static inline vf vf_copysign(vf magnitude, vf sign) {
    return vbslq_f32(vdupq_n_u32(0x80000000u), sign, magnitude);
}
static inline vf vf_shift_into_exponent(vf a) { return vf_of_raw(vshlq_n_u32(vf_raw(a), 23)); }
static inline vm vf_less(vf a, vf b) { return vcltq_f32(a, b); }
static inline vm vf_not_less(vf a, vf b) { return vmvnq_u32(vcltq_f32(a, b)); }
static inline vf vf_keep(vm mask, vf a) { return vf_of_raw(vandq_u32(mask, vf_raw(a))); }
static inline vm vf_is_nan(vf a) { return vmvnq_u32(vceqq_f32(a, a)); }
static inline int vf_any_lane(uint32x4_t mask) { return vmaxvq_u32(mask) != 0; }
static inline int vf_any_noncanonical(vf a) {
    /* Without the sign and less the smallest normal number, subnormals are above zero, which is above NaN, which is
     * above all others: zero wraps around. */
    const uint32x4_t magnitude = vshlq_n_u32(vf_raw(a), 1);
    const uint32x4_t above = vsubq_u32(magnitude, vdupq_n_u32(0x01000000u));
    const uint32x4_t is_zero = vceqzq_u32(magnitude);
    return vf_any_lane(vbicq_u32(vcgtq_u32(above, vdupq_n_u32(0xFE000000u)), is_zero));
}
static inline int vf_any_nonfinite(vf a) {
    return vf_any_lane(vcgeq_u32(vshlq_n_u32(vf_raw(a), 1), vdupq_n_u32(0xFF000000u)));
}
static inline vf vf_select(vm mask, vf yes, vf no) { return vbslq_f32(mask, yes, no); }
static inline vf vf_div_where(vm mask, vf a, vf b, vf other) {
    return vf_select(mask, vf_div(a, b), other);
}
static inline vf vf_square_where(vm mask, vf a) {
    vf some = vf_keep(mask, a);
    return vf_mul(some, some);
}
static inline vf vf_eighths_where(vm mask, vf a) {
    const uint8x16x2_t table = {{vreinterpretq_u8_u32(vld1q_u32(lf_eighths)),
                                 vreinterpretq_u8_u32(vld1q_u32(lf_eighths + 4))}};
    /* the numbers of the four bytes of an entry */
    const uint32x4_t entry = vandq_u32(vf_raw(a), vdupq_n_u32(7));
    const uint32x4_t bytes = vmlaq_u32(vdupq_n_u32(0x03020100u), entry, vdupq_n_u32(0x04040404u));
    const uint32x4_t found = vreinterpretq_u32_u8(vqtbl2q_u8(table, vreinterpretq_u8_u32(bytes)));
    return vf_keep(mask, vf_of_raw(vaddq_u32(vshlq_n_u32(vf_raw(a), 20), found)));
}

typedef int32x4_t vi;

static inline vi vi_load(const int32_t *p) { return vld1q_s32(p); }
static inline void vi_store(int32_t *p, vi a) { vst1q_s32(p, a); }
static inline vi vi_set1(int32_t a) { return vdupq_n_s32(a); }
static inline vi vi_add(vi a, vi b) { return vaddq_s32(a, b); }
static inline vi vi_sub(vi a, vi b) { return vsubq_s32(a, b); }
static inline vi vi_bits(vf a) { return vreinterpretq_s32_f32(a); }
static inline vf vf_of_bits(vi a) { return vreinterpretq_f32_s32(a); }
static inline vi vi_shift_from_exponent(vi a) { return vshrq_n_s32(a, 23); }
static inline int32_t vi_total(vi a) { return vaddvq_s32(a); }
static inline vi vi_magnitude(vf a) { return vandq_s32(vi_bits(a), vdupq_n_s32(INT32_MAX)); }
static inline vi vi_max(vi a, vi b) { return vmaxq_s32(a, b); }
static inline int32_t vi_largest(vi a) { return vmaxvq_s32(a); }
static inline vf vf_from_int(vi a) { return vcvtq_f32_s32(a); }
static inline vi vi_from_float(vf a) { return vcvtnq_s32_f32(a); }
static inline vf vf_load_float16(const uint16_t *p) {
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
}
