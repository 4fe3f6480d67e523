#define LF_THIS_ISA neon
#include "kernels_of_this_isa.h"
