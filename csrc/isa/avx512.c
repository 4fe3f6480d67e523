#define LF_THIS_ISA avx512
#include "kernels_of_this_isa.h"
