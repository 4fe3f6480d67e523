/*
 * The machine's limits, for benchmarks: how fast this ISA reads memory, how fast it multiplies. Both
 * are written as the kernels are, so that the kernels could reach them. And what a wrong compiler flag shows in.
 */
#ifndef LF_GENERIC_PROBE_H
#define LF_GENERIC_PROBE_H

enum { LF_PROBE_CHAINS = 12 }; /* enough to hide an fma's latency, few enough for 16 registers */

/* Reads count floats (whole panels) in the order of their addresses, as lf_add_products does. */
static float probe_read(const float *values, size_t count) {
    enum { ROWS = LF_GATES * LF_WIDE_PANEL };
    vf seen[ROWS];
    for (size_t j = 0; j < ROWS; j++)
        seen[j] = vf_set1(0.0f);
    LF_UNROLL_NONE
    for (size_t k = 0; k + ROWS * LF_LANES <= count; k += ROWS * LF_LANES) {
        const float *p = values + k;
        LF_UNROLL_ALL
        for (size_t j = 0; j < ROWS; j++) {
            seen[j] = vf_or(seen[j], vf_load(p + j * LF_LANES));
            LF_HIDE_VALUE(p);
        }
    }
    _Alignas(64) float lanes[LF_LANES];
    for (size_t j = 1; j < ROWS; j++)
        seen[0] = vf_or(seen[0], seen[j]);
    vf_store(lanes, seen[0]);
    return lanes[0];
}

/* Does `turns` times LF_PROBE_CHAINS independent fmas; returns how many lanes that were. */
static size_t probe_fma(size_t turns, float *result) {
    vf chain[LF_PROBE_CHAINS], a = vf_set1(*result);
    for (size_t j = 0; j < LF_PROBE_CHAINS; j++)
        chain[j] = vf_set1((float)j);
    LF_UNROLL_NONE
    for (size_t turn = 0; turn < turns; turn++) {
        LF_UNROLL_ALL
        for (size_t j = 0; j < LF_PROBE_CHAINS; j++)
            chain[j] = vf_fma(a, a, chain[j]);
    }
    _Alignas(64) float lanes[LF_LANES];
    for (size_t j = 1; j < LF_PROBE_CHAINS; j++)
        chain[0] = vf_add(chain[0], chain[j]);
    vf_store(lanes, chain[0]);
    *result = lanes[0];
    return turns * LF_PROBE_CHAINS * LF_LANES;
}

/* A multiplication that feeds an addition, in vectors and in plain C; never part of any result. */
static LF_NOINLINE float canary(const float *v) {
    _Alignas(64) float lanes[LF_LANES];
    vf_store(lanes, vf_add(vf_mul(vf_set1(v[0]), vf_set1(v[1])), vf_set1(v[2])));
    const float plain = v[0] * v[1] + v[2];
    return plain == lanes[0] ? plain : NAN;
}

#endif
