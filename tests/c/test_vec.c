/* The vocabulary of the ISA that LF_THIS_ISA names; exits with 77 where this CPU lacks it. */
#include "check.h"

#include "isa/this_isa.h"

#if !LF_THIS(IS_LISTED)
#error "LF_THIS_ISA is not in isa_list.inc"
#endif

#include "isa/begin_this_isa.h"

#include "vec_ops.h"

#include "isa/end_this_isa.h"

#define NAME_OF(isa) #isa
#define NAME(isa) NAME_OF(isa)

int main(void) {
    const char *const name = NAME(LF_THIS_ISA);
    int is_built = 0;
    for (size_t i = 0; i < lf_isa_count(); i++) {
        if (strcmp(lf_isa_name(i), name) != 0)
            continue;
        is_built = 1;
        if (lf_isa_missing(i, 0)) {
            printf("this CPU lacks %s\n", lf_isa_missing(i, 0));
            return 77;
        }
    }
    CHECK(is_built);
    check_vector_operations();
    check_eighths();
    check_questions();
    check_parts();
    check_conversions();
    check_int8_dot();
    return check_failures(name);
}
