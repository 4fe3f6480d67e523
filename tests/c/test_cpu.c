/* Feature detection on made-up machines: what CPUID offers counts only if the OS saves it. */
#include <time.h>

#include "check.h"
#include "cpu/cpu.h"

#define FMA (1u << 12)
#define F16C (1u << 29)
#define AVX512VNNI (1u << 11)
#define AVXVNNI (1u << 4)
#define OSXSAVE (1u << 27)
#define AVX (1u << 28)
#define AVX2 (1u << 5)
#define AVX512 ((1u << 16) | (1u << 17) | (1u << 30) | (1u << 31)) /* F DQ BW VL */

static const uint32_t avx2_set = LF_CPU_AVX2 | LF_CPU_FMA | LF_CPU_F16C | LF_CPU_AVXVNNI;
static const uint32_t avx512_set =
    LF_CPU_AVX512F | LF_CPU_AVX512BW | LF_CPU_AVX512VL | LF_CPU_AVX512DQ | LF_CPU_AVX512VNNI;

static uint32_t decode(uint32_t ecx, uint32_t ebx, uint64_t xcr0) {
    const lf_cpuid id = {ecx, ebx, AVX512VNNI, AVXVNNI, xcr0};
    return lf_cpu_decode(&id);
}

/* A tick is about a nanosecond, whatever the counter behind it. */
static void check_tick_shift(void) {
    const uint64_t hertz[] = {19200000, 24000000, 62500000, 121875000, 1000000000, 1050000000};
    for (size_t n = 0; n < sizeof hertz / sizeof *hertz; n++) {
        const double ticks = (double)(hertz[n] << lf_tick_shift(hertz[n])) * 1e-9;
        CHECK(ticks >= 1 && ticks < 2.2);
    }
    CHECK(lf_tick_shift(UINT64_C(5) << 30) == 0);
    CHECK(lf_tick_shift(0) == 30);
}

static double ticks_a_nanosecond(void) {
    struct timespec first, last;
    const uint64_t start = lf_ticks();
    clock_gettime(CLOCK_MONOTONIC, &first);
    double nanoseconds;
    do {
        clock_gettime(CLOCK_MONOTONIC, &last);
        nanoseconds =
            (double)(last.tv_sec - first.tv_sec) * 1e9 + (double)(last.tv_nsec - first.tv_nsec);
    } while (nanoseconds < 2e6);
    return (double)(lf_ticks() - start) / nanoseconds;
}

/* Whoever is kept from running between two clocks tries again. */
static void check_ticks(void) {
    double ticks = 0;
    for (int turn = 0; turn < 20 && !(ticks > 0.9 && ticks < 6); turn++)
        ticks = ticks_a_nanosecond();
    CHECK(ticks > 0.9 && ticks < 6);
}

int main(void) {
    check_tick_shift();
#if defined(__x86_64__) || defined(__aarch64__)
    check_ticks();
#endif
    CHECK(lf_cpu_decode_hwcap(1ul << 20) == LF_CPU_DOTPROD); /* Linux on Arm */
    CHECK(lf_cpu_decode_hwcap(~(1ul << 20)) == 0);
    const uint32_t ecx = FMA | F16C | OSXSAVE | AVX, ebx = AVX2 | AVX512;
    CHECK(decode(ecx, ebx, 0xE7) == (avx2_set | avx512_set));
    CHECK(decode(ecx, ebx, 0x07) == avx2_set);  /* the OS saves no ZMM */
    CHECK(decode(ecx, ebx, 0x27) == avx2_set);  /* only the mask registers */
    CHECK(decode(ecx, ebx, 0x03) == 0);         /* not even YMM */
    CHECK(decode(ecx & ~OSXSAVE, ebx, 0) == 0); /* an OS that knows nothing of it */
    CHECK(decode(ecx & ~AVX, ebx, 0xE7) == 0);
    CHECK(decode(ecx, 0, 0xE7) ==
          (avx2_set & ~(uint32_t)LF_CPU_AVX2)); /* no leaf 7: Piledriver has FMA and no AVX2 */
    CHECK(decode(ecx & ~FMA, AVX2, 0xE7) == (avx2_set & ~(uint32_t)LF_CPU_FMA));
    CHECK(decode(ecx, AVX2 | (1u << 30), 0xE7) == avx2_set); /* BW without F means nothing */
    CHECK((decode(ecx, AVX2 | (1u << 16), 0xE7) & avx512_set) ==
          (LF_CPU_AVX512F | LF_CPU_AVX512VNNI)); /* Knights Landing */
    for (uint32_t bit = 1; bit <= LF_CPU_DOTPROD; bit <<= 1)
        CHECK(lf_cpu_feature_name(bit) != NULL);
    CHECK(lf_cpu_feature_name(1u << 31) == NULL);
    return check_failures("cpu");
}
