#include "region.h"

#if defined(__x86_64__)
LF_TARGET_BEGIN("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,avx512vnni")

#include "vec_avx512.h"
#include "dot_avx512vnni.h"
#include "../generic/kernels.h"

LF_TARGET_END

const lf_isa lf_isa_avx512vnni = {
    .name = "avx512vnni",
    .required = LF_CPU_AVX512F | LF_CPU_AVX512BW | LF_CPU_AVX512VL | LF_CPU_AVX512DQ | LF_CPU_AVX2 |
                LF_CPU_FMA | LF_CPU_AVX512VNNI,
    LF_KERNELS,
};
#endif
