/* Operations that no ISA has a part in: they move values, compare them, or make another kind of them. */
#ifndef LF_PLAIN_H
#define LF_PLAIN_H

#include "loops.h"

typedef enum lf_plain_kind {
    LF_PLAIN_COPY,  /* x, of any kind */
    LF_PLAIN_FILL,  /* `value` */
    LF_PLAIN_LOGIC, /* less and so on, where: `code`; of operands of kind `from` */
    LF_PLAIN_CAST,  /* from kind `from` to kind `to` */
    LF_PLAIN_ROWS   /* rows of x by indices, which are the second operand */
} lf_plain_kind;

/*
 * LF_PLAIN_ROWS: outer loops over (y, indices, x), for each of which an index picks one of `rows` of x, row_step
 * elements apart; inner loops over (y, x) copy what it is. Indices count from the end where they are negative. is_checked:
 * they are known to be within the rows.
 */
typedef struct lf_plain {
    lf_plain_kind kind;
    lf_operation_code code;
    lf_kind from, to;
    float value;
    size_t element_bytes;
    lf_loops loops; /* (y, operands) */
    lf_loops inner;
    int64_t rows;
    ptrdiff_t row_step;
    int is_checked;
} lf_plain;

/* LF_ERR_INDEX where an index is beyond the rows, before anything is written. */
lf_status lf_run_plain(const lf_plain *plain, void *y, const void *const *x);

/* y = x, over loops of (y, x), elements of 1, 4 or 8 bytes. */
void lf_copy_loops(const lf_loops *loops, size_t element_bytes, void *y, const void *x);

#endif
