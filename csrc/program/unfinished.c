#include "../lstm_fast.h"
#include "../pieces.h"

/* Work in progress: replaced function by function. */
lf_status lf_model_load(const void *bytes, size_t size, const char *isa, lf_model **model) {
    (void)bytes;
    (void)size;
    (void)isa;
    (void)model;
    return LF_ERR_UNSUPPORTED;
}
lf_status lf_model_load_as(const void *bytes, size_t size, const lf_weight_type *types,
                           size_t count, const char *isa, lf_model **model) {
    (void)bytes;
    (void)size;
    (void)types;
    (void)count;
    (void)isa;
    (void)model;
    return LF_ERR_UNSUPPORTED;
}
size_t lf_model_input_count(const lf_model *model) {
    (void)model;
    return 0;
}
size_t lf_model_output_count(const lf_model *model) {
    (void)model;
    return 0;
}
size_t lf_model_state_count(const lf_model *model) {
    (void)model;
    return 0;
}
const lf_value_info *lf_model_input(const lf_model *model, size_t n) {
    (void)model;
    (void)n;
    return NULL;
}
const lf_value_info *lf_model_output(const lf_model *model, size_t n) {
    (void)model;
    (void)n;
    return NULL;
}
const lf_value_info *lf_model_state(const lf_model *model, size_t n) {
    (void)model;
    (void)n;
    return NULL;
}
lf_status lf_stream_step(lf_stream *stream, const void *const *inputs, void *const *outputs) {
    (void)stream;
    (void)inputs;
    (void)outputs;
    return LF_ERR_UNSUPPORTED;
}
lf_status lf_stream_run(lf_stream *stream, const void *const *inputs, size_t steps,
                        void *const *outputs) {
    (void)stream;
    (void)inputs;
    (void)steps;
    (void)outputs;
    return LF_ERR_UNSUPPORTED;
}
lf_status lf_stream_get_states(lf_stream *stream, void *const *states) {
    (void)stream;
    (void)states;
    return LF_ERR_UNSUPPORTED;
}
lf_status lf_stream_set_states(lf_stream *stream, const void *const *states) {
    (void)stream;
    (void)states;
    return LF_ERR_UNSUPPORTED;
}
lf_status lf_pool_step(lf_pool *pool, const unsigned long long *handles, size_t count,
                       const void *const *inputs, void *const *outputs, size_t *bad) {
    (void)pool;
    (void)handles;
    (void)count;
    (void)inputs;
    (void)outputs;
    (void)bad;
    return LF_ERR_UNSUPPORTED;
}
lf_status lf_pool_run(lf_pool *pool, const unsigned long long *handles, size_t count, size_t steps,
                      const size_t *lengths, const void *const *inputs, void *const *outputs,
                      size_t *bad) {
    (void)pool;
    (void)handles;
    (void)count;
    (void)steps;
    (void)lengths;
    (void)inputs;
    (void)outputs;
    (void)bad;
    return LF_ERR_UNSUPPORTED;
}
lf_status lf_pool_get_states(lf_pool *pool, unsigned long long handle, void *const *states) {
    (void)pool;
    (void)handle;
    (void)states;
    return LF_ERR_UNSUPPORTED;
}
lf_status lf_pool_set_states(lf_pool *pool, unsigned long long handle, const void *const *states) {
    (void)pool;
    (void)handle;
    (void)states;
    return LF_ERR_UNSUPPORTED;
}
int lf_stream_run_values_in_pieces(lf_stream *stream, const void *const *inputs, size_t steps,
                                   void *const *outputs, lf_go_on go_on, void *context) {
    (void)stream;
    (void)inputs;
    (void)steps;
    (void)outputs;
    (void)go_on;
    (void)context;
    return LF_ERR_UNSUPPORTED;
}
int lf_pool_run_values_in_pieces(lf_pool *pool, const unsigned long long *handles, size_t count,
                                 size_t steps, const size_t *lengths, const void *const *inputs,
                                 void *const *outputs, size_t *bad, lf_go_on go_on, void *context) {
    (void)pool;
    (void)handles;
    (void)count;
    (void)steps;
    (void)lengths;
    (void)inputs;
    (void)outputs;
    (void)bad;
    (void)go_on;
    (void)context;
    return LF_ERR_UNSUPPORTED;
}
