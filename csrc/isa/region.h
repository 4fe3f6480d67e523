/*
 * Each isa/X.c compiles its code for a target of its own, inside one file and with the same
 * compiler flags as all others. System headers come first, outside the region: what they define
 * inline must not be compiled for a CPU that may not be the one at hand.
 */
#ifndef LF_REGION_H
#define LF_REGION_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

#include "../cpu/cpu.h"
#include "../kernel.h"
#include "../tuning.h"

#define LF_PRAGMA(text) _Pragma(#text)
#if defined(__clang__) && !defined(LF_EMULATE)
#define LF_TARGET_BEGIN(features)                                                                  \
    LF_PRAGMA(clang attribute push(__attribute__((target(features))), apply_to = function))
#define LF_TARGET_END LF_PRAGMA(clang attribute pop)
#define LF_UNROLL_ALL LF_PRAGMA(clang loop unroll(full))
#define LF_UNROLL_NONE LF_PRAGMA(clang loop unroll(disable))
#elif defined(LF_EMULATE) /* tests/emulate: intrinsics in plain C, for any CPU */
#define LF_TARGET_BEGIN(features)
#define LF_TARGET_END
#define LF_UNROLL_ALL
#define LF_UNROLL_NONE
#else
#define LF_TARGET_BEGIN(features) LF_PRAGMA(GCC push_options) LF_PRAGMA(GCC target(features))
#define LF_TARGET_END LF_PRAGMA(GCC pop_options)
#define LF_UNROLL_ALL LF_PRAGMA(GCC unroll 64)
#define LF_UNROLL_NONE LF_PRAGMA(GCC unroll 1)
#endif

/* The optimiser takes it for changed: what uses it after can't move to before. */
#define LF_HIDE_VALUE(integer) __asm__ volatile("" : "+r"(integer))

/* The loop that follows begins on a cache line, give or take an instruction: where one of 75 bytes lies on
 * three lines instead of two, Zen 5 reads weights up to 3 % more slowly. */
#define LF_ALIGN_LOOP() __asm__ volatile(".p2align 6")

/* F(..., 1) F(..., 2) and so on. */
#define LF_UP_TO_1(F, ...) F(__VA_ARGS__, 1)
#define LF_UP_TO_2(F, ...) LF_UP_TO_1(F, __VA_ARGS__) F(__VA_ARGS__, 2)
#define LF_UP_TO_3(F, ...) LF_UP_TO_2(F, __VA_ARGS__) F(__VA_ARGS__, 3)
#define LF_UP_TO_4(F, ...) LF_UP_TO_3(F, __VA_ARGS__) F(__VA_ARGS__, 4)
#define LF_UP_TO_5(F, ...) LF_UP_TO_4(F, __VA_ARGS__) F(__VA_ARGS__, 5)
#define LF_UP_TO_6(F, ...) LF_UP_TO_5(F, __VA_ARGS__) F(__VA_ARGS__, 6)
#define LF_UP_TO_7(F, ...) LF_UP_TO_6(F, __VA_ARGS__) F(__VA_ARGS__, 7)
#define LF_UP_TO_8(F, ...) LF_UP_TO_7(F, __VA_ARGS__) F(__VA_ARGS__, 8)

/* The bits of 2^(j/8), less j at bit 20. A number 8 * 127 + 8 m + j shifted left by 20 has m + 127 as its
 * exponent and j at bit 20, so the sum is 2^(m + j/8): vf_eighths_where. */
static const _Alignas(32) uint32_t lf_eighths[8] = {
    0x00000000u, 0xFFFB95C2u, 0xFFF837F0u, 0xFFF5FED7u,
    0xFFF504F3u, 0xFFF5672Au, 0xFFF744FDu, 0xFFFAC0C7u,
};

/* For functions whose arguments become constants: they must be inlined to be fast. */
#define LF_INLINE static inline __attribute__((always_inline))
#define LF_NOINLINE __attribute__((noinline))

#endif
