/* For libFuzzer: files whose checksum is put right, at the parser. HACKING.md says how to run it. */
#include <stdlib.h>
#include <string.h>

#include "program/program.h"
#include "sha256.h"

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) {
    if (size < LF_SHA256_BYTES)
        return -1;
    unsigned char *const file = malloc(size);
    if (!file)
        return -1;
    const size_t body = size - LF_SHA256_BYTES;
    memcpy(file, data, body);
    lf_sha256(file, body, file + body);
    lf_program *program;
    const lf_status status = lf_program_parse(file, size, &program);
    if ((status == LF_OK) != (program != NULL))
        abort();
    lf_program_destroy(program);
    free(file);
    return 0;
}
