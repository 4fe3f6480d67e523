/* All kernels of the ISA that LF_THIS_ISA names, and its descriptor; nothing where it is not listed here. */
#include "this_isa.h"

#if LF_THIS(IS_LISTED)
#include "begin_this_isa.h"

#include "../generic/kernels.h"

#include "end_this_isa.h"

#define LF_DESCRIPTOR(isa) LF_DESCRIPTOR_OF(isa)
#define LF_DESCRIPTOR_OF(isa)                                                                      \
    const lf_isa lf_isa_##isa = {.name = #isa, .required = LF_THIS(REQUIRED), LF_KERNELS}
LF_DESCRIPTOR(LF_THIS_ISA);
#endif
