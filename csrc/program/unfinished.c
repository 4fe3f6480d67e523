#include "../lstm_fast.h"
#include "../pieces.h"

/* Work in progress: replaced function by function. */
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
