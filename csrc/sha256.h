/* SHA-256 (FIPS 180-4), for the checksum of snapshots. */
#ifndef LF_SHA256_H
#define LF_SHA256_H

#include <stddef.h>

enum { LF_SHA256_BYTES = 32 };
void lf_sha256(const void *data, size_t size, unsigned char digest[LF_SHA256_BYTES]);

#endif
