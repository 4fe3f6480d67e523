/*
 * The kernels seen from outside, for tests and benchmarks. No part of the public interface: a shared library does
 * not export it.
 */
#ifndef LSTM_FAST_PROBES_H
#define LSTM_FAST_PROBES_H

#include "lstm_fast.h"

/* LF_CFFI_BEGIN */

/* The activations as the kernels of that ISA compute them, for tests: y[j] = f(x[j]), j < count. */
lf_status lf_activate_f32(const char *isa, const lf_function *function, const float *x, float *y,
                          size_t count);

/*
 * The machine's limits as the kernels of that ISA meet them, for benchmarks. probe_read reads count
 * floats, a multiple of 128, from an address that is a multiple of 64. probe_fma does *fmas fused
 * multiply-adds in independent chains. The caller takes the time.
 */
lf_status lf_probe_read(const char *isa, const float *values, size_t count, float *result);
lf_status lf_probe_fma(const char *isa, size_t turns, size_t *fmas);

/* LF_CFFI_END */

#endif
