#ifndef LF_SNAPSHOT_H
#define LF_SNAPSHOT_H

#include "model.h"

/* Whether a snapshot can be written to these bytes, and writing it. */
lf_status lf_snapshot_check_room(const lf_model *model, const void *bytes, size_t size);
void lf_snapshot_write(const lf_model *model, const float *h, const float *c, void *bytes);

/* Where h and c are in one that fits the model (at any alignment, for lf_state_write alone). */
lf_status lf_snapshot_read(const lf_model *model, const void *bytes, size_t size, const float **h,
                           const float **c);

#endif
