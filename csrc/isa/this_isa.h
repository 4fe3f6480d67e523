/*
 * What isa_list.inc says of the ISA that LF_THIS_ISA names, which the includer defines: LF_THIS(TARGET) and so
 * on. System headers and the compiler's regions come along, see region.h.
 */
#include "region.h"

#define LF_ISA(name)
#include "../cpu/isa_list.inc"
#undef LF_ISA

#define LF_JOINED(isa, field) LF_ISA_##isa##_##field
#define LF_FIELD_OF(isa, field) LF_JOINED(isa, field)
#define LF_THIS(field) LF_FIELD_OF(LF_THIS_ISA, field)
