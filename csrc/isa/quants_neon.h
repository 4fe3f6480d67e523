/* The operand of an int8 dot that takes four k at a time, for both sets of vec_neon.h. */
#define LF_INT8_GROUP 4
#define LF_INT8_OFFSET 0

typedef int8_t lf_quant;

static inline void vi_store_quant(lf_quant *p, vi a) {
    const int16x4_t words = vmovn_s32(a);
    const int8x8_t bytes = vmovn_s16(vcombine_s16(words, words));
    const int32_t group = vget_lane_s32(vreinterpret_s32_s8(bytes), 0);
    memcpy(p, &group, sizeof group);
}
