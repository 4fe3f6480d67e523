/* Chooses an ISA: the first whose required features are all here, or the one that is named. */
#include <stdlib.h>
#include <string.h>

#include "cpu.h"
#include "../kernel.h"

#define LF_ISA(name) extern const lf_isa lf_isa_##name;
#include "isa_list.inc"
#undef LF_ISA

static const lf_isa *const all_isas[] = {
#define LF_ISA(name) &lf_isa_##name,
#include "isa_list.inc"
#undef LF_ISA
};

enum { ISA_COUNT = sizeof all_isas / sizeof *all_isas };

static uint32_t missing_features(const lf_isa *isa) { return isa->required & ~lf_cpu_features(); }

size_t lf_isa_count(void) { return ISA_COUNT; }

const lf_isa *lf_isa_at(size_t index) { return index < ISA_COUNT ? all_isas[index] : NULL; }

const char *lf_isa_name(size_t index) { return index < ISA_COUNT ? all_isas[index]->name : NULL; }

const char *lf_isa_missing(size_t index, size_t position) {
    uint32_t missing = index < ISA_COUNT ? missing_features(all_isas[index]) : 0;
    for (uint32_t bit = 1; bit; bit <<= 1)
        if (missing & bit && position-- == 0) {
            const char *const name = lf_cpu_feature_name(bit);
            return name ? name : "a feature without a name"; /* null says that nothing is missing */
        }
    return NULL;
}

lf_status lf_isa_choose(const char *name, size_t *index) {
    if (!index)
        return LF_ERR_ARGUMENT;
    if (!name)
        name = getenv("LSTM_FAST_ISA");
    if (name && !*name) /* set but empty is not set */
        name = NULL;
    for (size_t i = 0; i < ISA_COUNT; i++) {
        if (name && strcmp(name, all_isas[i]->name) != 0)
            continue;
        if (!missing_features(all_isas[i])) {
            *index = i;
            return LF_OK;
        }
        if (name)
            return LF_ERR_ISA_ABSENT;
    }
    return LF_ERR_ISA_UNKNOWN; /* without a name never reached: scalar needs nothing */
}

const char *lf_status_text(int status) {
    switch (status) {
    case LF_OK:
        return "no error";
    case LF_ERR_ARGUMENT:
        return "a pointer that is needed is null, or an enum value is unknown";
    case LF_ERR_SHAPE:
        return "a size is zero or above 2^28, or int8 rows are too long, or no memory could hold "
               "it";
    case LF_ERR_MEMORY:
        return "out of memory";
    case LF_ERR_NONFINITE:
        return "a weight or the sum of the two biases is NaN or infinite";
    case LF_ERR_ISA_UNKNOWN:
        return "no instruction set of that name was built in";
    case LF_ERR_ISA_ABSENT:
        return "this CPU or its operating system lacks what that instruction set needs";
    case LF_ERR_OVERLAP:
        return "the output shares memory with the input";
    case LF_ERR_BUSY:
        return "another thread is using this stream, or the pool is growing";
    case LF_ERR_MODEL:
        return "the two streams belong to different models";
    case LF_ERR_RANGE:
        return "a weight is too large for float16";
    case LF_ERR_HANDLE:
        return "the handle is stale, belongs to another pool or was never given out";
    case LF_ERR_REPEATED:
        return "a handle is given twice in one call";
    case LF_ERR_FULL:
        return "every slot of the pool is taken";
    case LF_ERR_FORKED:
        return "the process was forked in the middle of a call on this session, whose state is "
               "half of a step here: reset it, set its state or close it";
    case LF_ERR_FINGERPRINT:
        return "the model was made without the fingerprint that a snapshot needs";
    case LF_ERR_SNAPSHOT:
        return "these bytes are no snapshot, are damaged, or of another version";
    case LF_ERR_WEIGHTS:
        return "the snapshot was taken with other weights, or of another model";
    case LF_ERR_BITS:
        return "this build computes other bits than it should: its compiler flags change the "
               "arithmetic";
    case LF_ERR_PROGRAM:
        return "these bytes are no .lfm file, are damaged, or are no program that makes sense";
    case LF_ERR_VERSION:
        return "this .lfm file is of another version, or has an operation that is unknown here";
    case LF_ERR_INDEX:
        return "an index is beyond the rows of an embedding's table";
    case LF_ERR_UNSUPPORTED:
        return "the core cannot compute this program: it has softplus in an LSTM's cell, int8 "
               "weights of anything but an LSTM, or more values or operations than the core takes";
    case LF_ERR_KIND:
        return "this model has other inputs, outputs or states than this call is for";
    default:
        return "unknown status";
    }
}
