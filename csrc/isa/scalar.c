#include "region.h"

#include "vec_scalar.h"
#include "dot_scalar.h"
#include "../generic/kernels.h"

const lf_isa lf_isa_scalar = {
    .name = "scalar",
    .required = 0,
    LF_KERNELS,
};
