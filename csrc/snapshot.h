#ifndef LF_SNAPSHOT_H
#define LF_SNAPSHOT_H

#include "model.h"

/* Here `state` is h of an LSTM, whose c stands beside it; of a whole model it is all of it, and c means nothing. */

/* Whether a snapshot can be written to these bytes, and writing it. */
lf_status lf_snapshot_check_room(const lf_model *model, const void *bytes, size_t size);
void lf_snapshot_write(const lf_model *model, const void *state, const float *c, void *bytes);

/* Where the values are in one that fits the model, and taking them from there. */
lf_status lf_snapshot_read(const lf_model *model, const void *bytes, size_t size,
                           const void **values);
void lf_snapshot_take(const lf_model *model, const void *values, void *state, float *c);

#endif
