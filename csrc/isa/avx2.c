#include "region.h"

#if defined(__x86_64__)
LF_TARGET_BEGIN("avx2,fma,f16c")

#include "vec_avx2.h"
#include "dot_avx2.h"
#include "../generic/kernels.h"

LF_TARGET_END

const lf_isa lf_isa_avx2 = {
    .name = "avx2",
    .required = LF_CPU_AVX2 | LF_CPU_FMA | LF_CPU_F16C,
    LF_KERNELS,
};
#endif
