#define LF_THIS_ISA neondot
#include "kernels_of_this_isa.h"
