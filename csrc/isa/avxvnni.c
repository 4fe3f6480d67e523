#define LF_THIS_ISA avxvnni
#include "kernels_of_this_isa.h"
