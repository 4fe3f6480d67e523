/* Which ISA made-up CPUs get. Linked with --wrap=lf_cpu_features. */
#include <string.h>

#include "check.h"
#include "cpu/cpu.h"
#include "lstm_fast.h"

static uint32_t features;
uint32_t __wrap_lf_cpu_features(void);
uint32_t __wrap_lf_cpu_features(void) { return features; }

enum {
    HASWELL = LF_CPU_AVX2 | LF_CPU_FMA | LF_CPU_F16C,
    SKYLAKE_X = HASWELL | LF_CPU_AVX512F | LF_CPU_AVX512BW | LF_CPU_AVX512VL | LF_CPU_AVX512DQ,
    ICE_LAKE = SKYLAKE_X | LF_CPU_AVX512VNNI
};

static const char *chosen(uint32_t cpu) {
    size_t index = 0;
    features = cpu;
    CHECK(lf_isa_choose(NULL, &index) == LF_OK);
    return lf_isa_name(index);
}

#if defined(__aarch64__)
int main(void) {
    size_t index;
    CHECK(strcmp(chosen(0), "neon") == 0); /* Cortex-A53, A72 */
    CHECK(lf_isa_choose("neon", &index) == LF_OK);
#if LF_COMPILER_HAS_DOTPROD
    CHECK(lf_isa_choose("neondot", &index) == LF_ERR_ISA_ABSENT);
    CHECK(strcmp(lf_isa_missing(0, 0), "dotprod") == 0 && lf_isa_missing(0, 1) == NULL);
    CHECK(strcmp(chosen(LF_CPU_DOTPROD), "neondot") == 0); /* Cortex-A76, Neoverse N1, Apple */
#endif
    return check_failures("dispatch");
}
#elif !defined(__x86_64__)
int main(void) {
    printf("the made-up CPUs are of x86-64 and AArch64\n");
    return 77;
}
#else
int main(void) {
    size_t index;
    CHECK(strcmp(chosen(ICE_LAKE | LF_CPU_AVXVNNI), "avx512vnni") == 0);
    CHECK(strcmp(chosen(ICE_LAKE), "avx512vnni") == 0);
    CHECK(strcmp(chosen(SKYLAKE_X), "avx512") == 0);
    CHECK(strcmp(chosen(HASWELL), "avx2") == 0);
    CHECK(strcmp(chosen(HASWELL | LF_CPU_AVX512F), "avx2") == 0); /* Knights Landing */
    CHECK(strcmp(chosen(HASWELL & ~LF_CPU_AVX2), "scalar") == 0); /* Piledriver */
    CHECK(strcmp(chosen(HASWELL & ~LF_CPU_FMA), "scalar") == 0);
    CHECK(strcmp(chosen(0), "scalar") == 0);
#if LF_COMPILER_HAS_AVXVNNI
    CHECK(strcmp(chosen(HASWELL | LF_CPU_AVXVNNI), "avxvnni") == 0); /* Alder Lake */
#endif
    features = SKYLAKE_X;
    CHECK(lf_isa_choose("avx512vnni", &index) == LF_ERR_ISA_ABSENT);
    CHECK(strcmp(lf_isa_name(0), "avx512vnni") == 0);
    CHECK(strcmp(lf_isa_missing(0, 0), "avx512vnni") == 0 && lf_isa_missing(0, 1) == NULL);
    return check_failures("dispatch");
}
#endif
