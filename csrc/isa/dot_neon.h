/*
 * The int8 dot in plain Advanced SIMD. Both sides stay within 127, and a sum of two products within 2 * 127 * 127 =
 * 32258, so 16 bits hold it.
 */
#include "quants_neon.h"

typedef vi lf_group;

static inline lf_group vi_broadcast(const lf_quant *p) {
    int32_t group;
    memcpy(&group, p, sizeof group);
    vi a = vdupq_n_s32(group);
    __asm__(
        ""
        : "+w"(
            a)); /* Clang would take its lower half for its upper one, and move the weights to that */
    return a;
}
static inline vi vi_dot(vi sum, const char *weights, lf_group operand) {
    const int8x16_t w = vld1q_s8((const int8_t *)(const void *)weights);
    const int8x16_t x = vreinterpretq_s8_s32(operand);
    const int16x8_t low = vmull_s8(vget_low_s8(w), vget_low_s8(x)), high = vmull_high_s8(w, x);
    return vpadalq_s16(sum, vpaddq_s16(low, high));
}
