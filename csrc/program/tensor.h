/* Tensors by their kind and sizes. */
#ifndef LF_TENSOR_H
#define LF_TENSOR_H

#include "program.h"

/* Sets kind, shape and count; 0 where no tensor can have these sizes [rank]. */
int lf_set_tensor(lf_tensor *tensor, lf_kind kind, size_t rank, const int64_t *sizes);

int lf_is_same_shape(const lf_shape *a, const lf_shape *b);

#endif
