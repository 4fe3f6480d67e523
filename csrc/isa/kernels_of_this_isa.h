/* All kernels of the ISA that LF_THIS_ISA names, and its descriptor; nothing where it is not listed here. */
#include "this_isa.h"

#if LF_THIS(IS_LISTED)
#if LF_THIS(HAS_TARGET)
LF_TARGET_BEGIN(LF_THIS(TARGET))
#endif

#include LF_THIS(VECTORS)
#include LF_THIS(DOT)
#include "../generic/kernels.h"

#if LF_THIS(HAS_TARGET)
LF_TARGET_END
#endif

#define LF_DESCRIPTOR(isa) LF_DESCRIPTOR_OF(isa)
#define LF_DESCRIPTOR_OF(isa)                                                                      \
    const lf_isa lf_isa_##isa = {.name = #isa, .required = LF_THIS(REQUIRED), LF_KERNELS}
LF_DESCRIPTOR(LF_THIS_ISA);
#endif
