/* What the kernels of products and recurrent cells take; see generic/product.h. */
#ifndef LF_PRODUCTS_H
#define LF_PRODUCTS_H

#include "../layout.h"
#include "program.h"

/* y = activation(W x + bias). activation: 0, or the code of an operation with one input, and what it is called with. */
typedef struct lf_product {
    lf_weight_type type;
    lf_operation_code activation;
    int is_approximate;
    float alpha, beta;
    size_t outputs;    /* rows of W */
    const float *bias; /* [rows of the matrix], where there is none zeros; none is -0 */
    lf_matrix matrix;
    const char *ahead; /* where L2 doesn't hold all weights: those that are read next; else null */
} lf_product;

/* The rows of one call. For a single row `single` says where its segments are, for more `several`. */
typedef struct lf_product_rows {
    const lf_segment *single;
    const lf_row_segment *several;
    size_t segments, count;
    float *const *y; /* [count], of any alignment */
    float *sums;     /* scratch: [count][LF_PANEL_SUMS], aligned */
} lf_product_rows;

/* A convolution whose every channel has a filter of its own. Steps are in floats. */
typedef struct lf_depthwise {
    lf_product product;   /* without a matrix */
    const float *weights; /* [taps][weights_step], aligned, padded to whole vectors */
    size_t taps, positions, weights_step, tap_step, position_step;
} lf_depthwise;

#endif
