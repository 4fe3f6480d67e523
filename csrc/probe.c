/* Looking at the kernels from outside: single activations for tests, the machine's limits for
 * benchmarks. */
#include "anywhere.h"
#include "kernel.h"
#include "lstm_fast_probes.h"

lf_status lf_activate_f32(const char *isa_name, const lf_function *function, const float *x,
                          float *y, size_t count) {
    enum { CHUNK = 256 }; /* any number of whole vectors */
    _Alignas(64) float values[CHUNK] = {0};
    size_t index;
    if (!function || function->name < LF_SIGMOID || function->name > LF_SOFTSIGN ||
        (count && (!x || !y)))
        return LF_ERR_ARGUMENT;
    lf_status status = lf_isa_choose(isa_name, &index);
    for (size_t done = 0; status == LF_OK && done < count; done += CHUNK) {
        size_t n = count - done < CHUNK ? count - done : CHUNK;
        lf_copy_floats(values, x + done, n);
        lf_isa_at(index)->activate_f32(function, values, CHUNK);
        lf_copy_floats(y + done, values, n);
    }
    return status;
}

lf_status lf_probe_read(const char *isa_name, const float *values, size_t count, float *result) {
    size_t index;
    if (!values || !result || (uintptr_t)values % LF_ALIGNMENT)
        return LF_ERR_ARGUMENT;
    lf_status status = lf_isa_choose(isa_name, &index);
    if (status == LF_OK)
        *result = lf_isa_at(index)->probe_read(values, count);
    return status;
}

lf_status lf_probe_fma(const char *isa_name, size_t turns, size_t *fmas) {
    size_t index;
    float value = 0.5f;
    if (!fmas)
        return LF_ERR_ARGUMENT;
    lf_status status = lf_isa_choose(isa_name, &index);
    if (status == LF_OK)
        *fmas = lf_isa_at(index)->probe_fma(turns, &value);
    return status;
}
