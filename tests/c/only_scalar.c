/* Stands in for the kernels of every ISA but scalar, where it is the code around them that is tested. */
#include "cpu/cpu.h"
#include "kernel.h"

#define lf_isa_scalar no_stand_in
#define LF_ISA(isa) const lf_isa lf_isa_##isa = {.name = #isa, .required = UINT32_MAX};
#include "cpu/isa_list.inc"
