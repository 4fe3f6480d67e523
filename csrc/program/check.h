/* Whether a program whose records have been read is one. */
#ifndef LF_PROGRAM_CHECK_H
#define LF_PROGRAM_CHECK_H

#include "program.h"

/* What is known of a tensor: whether there is one by now, and of a constant its values. */
typedef struct lf_fact {
    int is_there, is_finite;
    int64_t least, greatest; /* of int64 */
} lf_fact;

/* facts: room for one of each tensor, zeroed. LF_OK or LF_ERR_PROGRAM. */
lf_status lf_check_program(const lf_program *program, lf_fact *facts);

#endif
