#define LF_THIS_ISA avx512vnni
#include "kernels_of_this_isa.h"
