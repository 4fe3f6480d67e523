/* Writing packed matrices; see layout.h. */
#ifndef LF_MATRIX_H
#define LF_MATRIX_H

#include "layout.h"

/*
 * One row of a matrix into its panel, which are zeroed before. offset: the ISA's int8_offset. Returns the
 * scale of an int8 row, whose largest magnitude is 127 units (0 for a row of almost zeros), and 1 for other types.
 */
float lf_pack_row(const lf_matrix *m, lf_geometry g, int offset, size_t row, const float *values);

/* The bias of a row, and the scales of int8: [matrices]. */
void lf_pack_bias(const lf_matrix *m, lf_geometry g, size_t matrices, size_t row, float bias,
                  const float *scales);

int lf_fits_float16(float value);

#endif
