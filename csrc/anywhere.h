/*
 * Arrays that callers give may begin at any address, where C allows no plain access: its elements are read and written
 * here, and copied. Each of a constant size, so that a compiler makes one load or store of it. No parameter has the type
 * of the elements, since a compiler may take from that how an argument of memcpy is aligned.
 */
#ifndef LF_ANYWHERE_H
#define LF_ANYWHERE_H

#include <stddef.h>
#include <string.h>

#define LF_ELEMENT(name, type)                                                                     \
    static inline type name(const void *values, size_t n) {                                        \
        type value;                                                                                \
        memcpy(&value, (const char *)values + n * sizeof value, sizeof value);                     \
        return value;                                                                              \
    }

LF_ELEMENT(lf_float_at, float)
LF_ELEMENT(lf_length_at, size_t)
LF_ELEMENT(lf_handle_at, unsigned long long)
#undef LF_ELEMENT

static inline void lf_put_handle(void *handles, size_t n, unsigned long long handle) {
    memcpy((char *)handles + n * sizeof handle, &handle, sizeof handle);
}

static inline void lf_copy_floats(void *to, const void *from, size_t count) {
    memcpy(to, from, count * sizeof(float));
}

#endif
