#define LF_THIS_ISA scalar
#include "kernels_of_this_isa.h"
