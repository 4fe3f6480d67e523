/* The int8 dot with AVX-512 VNNI, four k at a time; the offset is explained in dot_avxvnni.h. */
#define LF_INT8_GROUP 4
#define LF_INT8_OFFSET 128

typedef int8_t lf_quant;
typedef vi lf_group;

static inline void vi_store_quant(lf_quant *p, vi a) {
    _mm_storeu_si128((__m128i *)(void *)p, _mm512_cvtepi32_epi8(a));
}
static inline lf_group vi_broadcast(const lf_quant *p) {
    int group;
    memcpy(&group, p, sizeof group);
    return _mm512_set1_epi32(group);
}
static inline vi vi_dot(vi sum, const char *weights, lf_group operand) {
    return _mm512_dpbusd_epi32(sum, _mm512_load_si512((const void *)weights), operand);
}
