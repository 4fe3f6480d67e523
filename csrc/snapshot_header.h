#ifndef LF_SNAPSHOT_HEADER_H
#define LF_SNAPSHOT_HEADER_H

#include "model.h"

enum { LF_MAGIC_BYTES = 8, LF_LENGTH_BYTES = 4 }; /* and then JSON, which begins with the version */

/* Sets model->snapshot_header once its values are described; 0: there is no memory. types: [op_count], or null. */
int lf_make_lstm_header(lf_model *model, const unsigned char *fingerprint);
int lf_make_program_header(lf_model *model, const lf_program *program, const lf_weight_type *types);

#endif
