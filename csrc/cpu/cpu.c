/*
 * Feature detection. CPUID alone is not enough: an OS, a hypervisor or a boot option may leave the
 * wide registers unsaved, and using them then kills the process. XCR0 says what is saved
 * (Intel SDM vol. 1, 13.3 and 14.3; AMD APM vol. 2, 11.5). On AArch64 only the OS can look; it names what programs
 * may use (Linux: Documentation/arch/arm64/elf_hwcaps.rst).
 */
#include <stdatomic.h>
#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#elif defined(__aarch64__) && defined(__APPLE__)
#include <sys/types.h>
/* behind the types that it uses */
#include <sys/sysctl.h>
#elif defined(__aarch64__) && defined(_WIN32)
#include <windows.h>
#endif

#include "cpu.h"

#define LEAF1_ECX_FMA (1u << 12)
#define LEAF1_ECX_OSXSAVE (1u << 27)
#define LEAF1_ECX_AVX (1u << 28)
#define LEAF1_ECX_F16C (1u << 29)
#define LEAF7_EBX_AVX2 (1u << 5)
#define LEAF7_EBX_AVX512F (1u << 16)
#define LEAF7_EBX_AVX512DQ (1u << 17)
#define LEAF7_EBX_AVX512BW (1u << 30)
#define LEAF7_EBX_AVX512VL (1u << 31)
#define LEAF7_ECX_AVX512VNNI (1u << 11)
#define LEAF7_1_EAX_AVXVNNI (1u << 4)
#define HWCAP_OF_DOTPROD (1ul << 20) /* Linux: HWCAP_ASIMDDP */
#define XCR0_XMM_YMM 0x06u           /* SSE and AVX state */
#define XCR0_ZMM 0xE0u               /* opmask, upper halves, upper sixteen */

static const struct {
    uint32_t bit;
    const char *name;
} feature_names[] = {
    {LF_CPU_AVX2, "avx2"},         {LF_CPU_FMA, "fma"},
    {LF_CPU_AVX512F, "avx512f"},   {LF_CPU_AVX512BW, "avx512bw"},
    {LF_CPU_AVX512VL, "avx512vl"}, {LF_CPU_AVX512DQ, "avx512dq"},
    {LF_CPU_F16C, "f16c"},         {LF_CPU_AVX512VNNI, "avx512vnni"},
    {LF_CPU_AVXVNNI, "avxvnni"},   {LF_CPU_DOTPROD, "dotprod"},
};

const char *lf_cpu_feature_name(uint32_t bit) {
    for (size_t i = 0; i < sizeof feature_names / sizeof *feature_names; i++)
        if (feature_names[i].bit == bit)
            return feature_names[i].name;
    return NULL;
}

uint32_t lf_cpu_decode(const lf_cpuid *id) {
    uint32_t features = 0;
    if (!(id->leaf1_ecx & LEAF1_ECX_OSXSAVE) || !(id->leaf1_ecx & LEAF1_ECX_AVX) ||
        (id->xcr0 & XCR0_XMM_YMM) != XCR0_XMM_YMM)
        return 0;
    if (id->leaf1_ecx & LEAF1_ECX_FMA)
        features |= LF_CPU_FMA;
    if (id->leaf1_ecx & LEAF1_ECX_F16C)
        features |= LF_CPU_F16C;
    if (id->leaf7_ebx & LEAF7_EBX_AVX2)
        features |= LF_CPU_AVX2;
    if (id->leaf7_1_eax & LEAF7_1_EAX_AVXVNNI)
        features |= LF_CPU_AVXVNNI;
    if ((id->xcr0 & XCR0_ZMM) != XCR0_ZMM || !(id->leaf7_ebx & LEAF7_EBX_AVX512F))
        return features;
    features |= LF_CPU_AVX512F;
    if (id->leaf7_ebx & LEAF7_EBX_AVX512BW)
        features |= LF_CPU_AVX512BW;
    if (id->leaf7_ebx & LEAF7_EBX_AVX512VL)
        features |= LF_CPU_AVX512VL;
    if (id->leaf7_ebx & LEAF7_EBX_AVX512DQ)
        features |= LF_CPU_AVX512DQ;
    if (id->leaf7_ecx & LEAF7_ECX_AVX512VNNI)
        features |= LF_CPU_AVX512VNNI;
    return features;
}

uint32_t lf_cpu_decode_hwcap(unsigned long hwcap) {
    return hwcap & HWCAP_OF_DOTPROD ? LF_CPU_DOTPROD : 0;
}

#if defined(__x86_64__)
#include <cpuid.h>

static uint32_t look(void) {
    lf_cpuid id = {0, 0, 0, 0, 0};
    uint32_t eax, ebx, ecx, edx;
    if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx))
        return 0;
    id.leaf1_ecx = ecx;
    if (ecx & LEAF1_ECX_OSXSAVE) {
        uint32_t low, high;
        __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
        id.xcr0 = (uint64_t)high << 32 | low;
    }
    if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx)) {
        id.leaf7_ebx = ebx;
        id.leaf7_ecx = ecx;
        if (eax >= 1 && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx))
            id.leaf7_1_eax = eax;
    }
    return lf_cpu_decode(&id);
}

/* Leaf 0x80000006, ECX 31..16: AMD and Intel alike. */
static uint32_t look_for_l2(void) {
    uint32_t eax, ebx, ecx, edx;
    return __get_cpuid(0x80000006u, &eax, &ebx, &ecx, &edx) ? ecx >> 16 : 0;
}
#else
#if defined(__aarch64__) && defined(__linux__)
static uint32_t look(void) { return lf_cpu_decode_hwcap(getauxval(AT_HWCAP)); }
#elif defined(__aarch64__) && defined(__APPLE__)
static uint32_t look(void) {
    int has = 0;
    size_t size = sizeof has;
    const char *const name = "hw.optional.arm.FEAT_DotProd";
    return sysctlbyname(name, &has, &size, NULL, 0) == 0 && has ? LF_CPU_DOTPROD : 0;
}
#elif defined(__aarch64__) && defined(_WIN32)
static uint32_t look(void) {
    const DWORD dot_instructions = 43; /* PF_ARM_V82_DP_INSTRUCTIONS_AVAILABLE */
    return IsProcessorFeaturePresent(dot_instructions) ? LF_CPU_DOTPROD : 0;
}
#else
static uint32_t look(void) { return 0; }
#endif
static uint32_t look_for_l2(void) { return 0; } /* no program may ask an Arm core */
#endif

#define L2_UNKNOWN 1024 /* KiB */

size_t lf_cpu_l2_bytes(void) {
    static atomic_uint known; /* KiB */
    const uint32_t looked = 1u << 31;
    uint32_t size = atomic_load_explicit(&known, memory_order_relaxed);
    if (!(size & looked)) {
        size = look_for_l2() | looked;
        atomic_store_explicit(&known, size, memory_order_relaxed);
    }
    size &= ~looked;
    return (size_t)(size ? size : L2_UNKNOWN) << 10;
}

uint32_t lf_cpu_features(void) {
#if defined(LF_EMULATE) /* tests/emulate: whatever an ISA needs */
    return UINT32_MAX;
#endif
    /* In a virtual machine each CPUID is a trip to the hypervisor, 17 us for all of these. Two threads
     * that look at once find the same. */
    static atomic_uint known;
    const uint32_t looked = 1u << 31;
    uint32_t features = atomic_load_explicit(&known, memory_order_relaxed);
    if (!(features & looked)) {
        features = look() | looked;
        atomic_store_explicit(&known, features, memory_order_relaxed);
    }
    return features & ~looked;
}
