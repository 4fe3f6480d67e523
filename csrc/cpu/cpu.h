/* What this CPU can do and this OS lets programs use. */
#ifndef LF_CPU_H
#define LF_CPU_H

#include <stddef.h>
#include <stdint.h>

typedef enum lf_cpu_feature {
    LF_CPU_AVX2 = 1 << 0,
    LF_CPU_FMA = 1 << 1,
    LF_CPU_AVX512F = 1 << 2,
    LF_CPU_AVX512BW = 1 << 3,
    LF_CPU_AVX512VL = 1 << 4,
    LF_CPU_AVX512DQ = 1 << 5,
    LF_CPU_F16C = 1 << 6,
    LF_CPU_AVX512VNNI = 1 << 7,
    LF_CPU_AVXVNNI = 1 << 8,
    LF_CPU_DOTPROD = 1 << 9
} lf_cpu_feature;

/* AVX-VNNI came to GCC 11 and Clang 12. */
#if defined(__x86_64__) && (defined(__clang__) ? __clang_major__ >= 12 : __GNUC__ >= 11)
#define LF_COMPILER_HAS_AVXVNNI 1
#else
#define LF_COMPILER_HAS_AVXVNNI 0
#endif

/* GCC 8 and Clang 16 have it in functions of their own target; others where they compile all for such a CPU. */
#if defined(__aarch64__) && (defined(__ARM_FEATURE_DOTPROD) ||                                     \
                             (defined(__clang__) ? __clang_major__ >= 16 : __GNUC__ >= 8))
#define LF_COMPILER_HAS_DOTPROD 1
#else
#define LF_COMPILER_HAS_DOTPROD 0
#endif

/* The registers that detection looks at, apart from the looking, so that a test can make them up.
 */
typedef struct lf_cpuid {
    uint32_t leaf1_ecx;
    uint32_t leaf7_ebx; /* 0 where leaf 7 does not exist, as the two below */
    uint32_t leaf7_ecx;
    uint32_t leaf7_1_eax; /* subleaf 1 */
    uint64_t xcr0;        /* 0 where OSXSAVE is off */
} lf_cpuid;

/* A feature counts only if the OS also saves the registers that it uses. */
uint32_t lf_cpu_decode(const lf_cpuid *id);

/* The same of Linux's AT_HWCAP on AArch64. */
uint32_t lf_cpu_decode_hwcap(unsigned long hwcap);

/* The lf_cpu_feature bits of this machine. */
uint32_t lf_cpu_features(void);

/* The size of a core's L2 cache; 1 MiB where the CPU doesn't say. */
size_t lf_cpu_l2_bytes(void);

/* By how many bits a counter that goes at so many hertz is shifted, to tick some 1 to 2 times in a nanosecond: Arm's go at
 * 19 MHz to 1 GHz. One whose frequency nobody has set seems so fast that each gap is a pause. */
static inline unsigned lf_tick_shift(uint64_t hertz) {
    const int zeros = __builtin_clzll(hertz | 1); /* 33 at 2^30 Hz */
    return zeros > 33 ? (unsigned)zeros - 33 : 0;
}

/* A clock that costs a few nanoseconds and ticks some 1 to 4 times in each, many at once where a counter is slow; one that
 * stands still where there is none. */
static inline uint64_t lf_ticks(void) {
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
    uint64_t count, hertz;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(count));
    __asm__("mrs %0, cntfrq_el0" : "=r"(hertz));
    return count << lf_tick_shift(hertz);
#else
    return 0;
#endif
}

/* "avx512bw" and so on for one bit; null for a bit that is none. */
const char *lf_cpu_feature_name(uint32_t bit);

#endif
