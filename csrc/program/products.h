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

/* A convolution has two axes: lines, and what is in a line. One in time has a single line. */
enum { LF_CONV_AXES = 2 };

/* A convolution whose every channel has a filter of its own. Steps are in floats; positions, taps and their steps are
 * those along each axis. */
typedef struct lf_depthwise {
    lf_product product;   /* without a matrix */
    const float *weights; /* [taps[0]][taps[1]][weights_step], aligned, padded to whole vectors */
    size_t weights_step;
    size_t taps[LF_CONV_AXES], tap_step[LF_CONV_AXES];
    size_t positions[LF_CONV_AXES], position_step[LF_CONV_AXES];
} lf_depthwise;

#endif
