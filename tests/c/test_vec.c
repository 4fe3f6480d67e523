/* The vocabulary of the ISA that LF_TEST_ISA names; exits with 77 where this CPU lacks it. */
#include "check.h"
#include "isa/region.h"

#if LF_TEST_ISA_avx512vnni
LF_TARGET_BEGIN("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma,avx512vnni")
#include "isa/vec_avx512.h"
#include "isa/dot_avx512vnni.h"
#define NAME "avx512vnni"
#elif LF_TEST_ISA_avx512
LF_TARGET_BEGIN("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")
#include "isa/vec_avx512.h"
#include "isa/dot_avx512.h"
#define NAME "avx512"
#elif LF_TEST_ISA_avxvnni
LF_TARGET_BEGIN("avx2,fma,f16c,avxvnni")
#include "isa/vec_avx2.h"
#include "isa/dot_avxvnni.h"
#define NAME "avxvnni"
#elif LF_TEST_ISA_avx2
LF_TARGET_BEGIN("avx2,fma,f16c")
#include "isa/vec_avx2.h"
#include "isa/dot_avx2.h"
#define NAME "avx2"
#else
#include "isa/vec_scalar.h"
#include "isa/dot_scalar.h"
#define NAME "scalar"
#endif
#include "vec_ops.h"
#ifndef LF_TEST_ISA_scalar
LF_TARGET_END
#endif

int main(void) {
    for (size_t i = 0; i < lf_isa_count(); i++)
        if (strcmp(lf_isa_name(i), NAME) == 0 && lf_isa_missing(i, 0)) {
            printf("this CPU lacks %s\n", lf_isa_missing(i, 0));
            return 77;
        }
    check_vector_operations();
    check_eighths();
    check_questions();
    check_parts();
    check_conversions();
    check_int8_dot();
    return check_failures(NAME);
}
