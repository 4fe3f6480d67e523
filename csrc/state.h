/* The state of a session: h [L][padded_output] and c [L][padded_hidden], canonical, zeros as padding. */
#ifndef LF_STATE_H
#define LF_STATE_H

#include "model.h"

/* Where a session starts from. */
void lf_state_start(const lf_model *model, float *h, float *c);

/* Between that and the caller's [L][P] and [L][H]. */
void lf_state_read(const lf_model *model, const float *h, const float *c, float *h_out,
                   float *c_out);
void lf_state_write(const lf_model *model, float *h, float *c, const float *h_in,
                    const float *c_in);

#endif
