/* The int8 dot of the scalar ISA: one k at a time. */
#define LF_INT8_GROUP 1
#define LF_INT8_OFFSET 0

typedef int16_t lf_quant; /* a quantised operand as the dot wants it */
typedef vi lf_group;      /* LF_INT8_GROUP of them, for each row */

static inline void vi_store_quant(lf_quant *p, vi a) { *p = (lf_quant)a; }
static inline lf_group vi_broadcast(const lf_quant *p) { return *p; }
static inline vi vi_dot(vi sum, const char *weights, lf_group operand) {
    return sum + *(const signed char *)weights * operand;
}
