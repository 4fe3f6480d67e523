/* Stands in for the kernels of every ISA but two: one without padding, and one with. */
#include "cpu/cpu.h"
#include "kernel.h"

#define lf_isa_scalar no_stand_in
#define lf_isa_avx2 no_stand_in_either
#define LF_ISA(isa) const lf_isa lf_isa_##isa = {.name = #isa, .required = UINT32_MAX};
#include "cpu/isa_list.inc"
