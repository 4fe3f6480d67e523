/* The int8 dot with FEAT_DotProd: four k at a time, both sides signed. */
#include "quants_neon.h"

typedef int8x8_t lf_group; /* its first half, which the dot takes for each row */

static inline lf_group vi_broadcast(const lf_quant *p) {
    uint32_t group;
    memcpy(&group, p, sizeof group);
    return vcreate_s8(group);
}
static inline vi vi_dot(vi sum, const char *weights, lf_group operand) {
    return vdotq_lane_s32(sum, vld1q_s8((const int8_t *)(const void *)weights), operand, 0);
}
