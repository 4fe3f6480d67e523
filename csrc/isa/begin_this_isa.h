/* Begins the region of the ISA that LF_THIS_ISA names, with its vector operations and its int8 dot in it;
 * end_this_isa.h ends it. */
#include "this_isa.h"

#if LF_THIS(HAS_TARGET)
LF_TARGET_BEGIN(LF_THIS(TARGET))
#endif

#include LF_THIS(VECTORS)
#include LF_THIS(DOT)
