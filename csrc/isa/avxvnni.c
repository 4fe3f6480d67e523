#include "region.h"

#if LF_COMPILER_HAS_AVXVNNI
LF_TARGET_BEGIN("avx2,fma,f16c,avxvnni")

#include "vec_avx2.h"
#include "dot_avxvnni.h"
#include "../generic/kernels.h"

LF_TARGET_END

const lf_isa lf_isa_avxvnni = {
    .name = "avxvnni",
    .required = LF_CPU_AVX2 | LF_CPU_FMA | LF_CPU_F16C | LF_CPU_AVXVNNI,
    LF_KERNELS,
};
#endif
