/*
 * Golden bits of every ISA that this CPU has, and which one it takes by itself: prints its name. With an argument, that
 * has to be it.
 */
#include <string.h>

#include "check.h"
#include "lstm_fast.h"

int main(int count, char **arguments) {
    size_t chosen = 0;
    CHECK(lf_isa_choose(NULL, &chosen) == LF_OK);
    if (count > 1 && strcmp(lf_isa_name(chosen), arguments[1]) != 0) {
        printf("%s is chosen, not %s\n", lf_isa_name(chosen), arguments[1]);
        return 1;
    }
    for (size_t i = 0; i < lf_isa_count(); i++) {
        const int is_here = lf_isa_missing(i, 0) == NULL;
        const lf_status status = lf_self_test(lf_isa_name(i));
        printf("%s: %s\n", lf_isa_name(i), lf_status_text((int)status));
        CHECK(status == (is_here ? LF_OK : LF_ERR_ISA_ABSENT));
    }
    return check_failures(lf_isa_name(chosen));
}
