#define LF_THIS_ISA avx2
#include "kernels_of_this_isa.h"
