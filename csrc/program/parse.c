/* A .lfm file as docs/lfm.md has it: the header, the records in their order, and what owns them. */
#include <stdlib.h>
#include <string.h>

#include "../layout.h"
#include "../memory/memory.h"
#include "../sha256.h"
#include "check.h"
#include "records.h"

#define MAGIC "\x89LFM\r\n\x1a\n"
enum { MAGIC_BYTES = 8, VERSION = 1, HEADER_WORDS = 16, HEADER_BYTES = 4 * HEADER_WORDS };
enum { MOST_RECORDS = 1 << 16, MOST_WORDS = 1 << 24 };
enum { TENSORS, INPUTS, OUTPUTS, STATES, CONSTANTS, OPS, NOTES, SORTS };

static const size_t fewest_words[SORTS] = {2, 5, 3, 5, 2, 5, 2}; /* of a record of each sort */

/* What the header says; arrays_at: where they begin in the file. */
typedef struct contents {
    size_t counts[SORTS], words, text_bytes, arrays_at, array_bytes;
} contents;

/* All that a program points to is in `file` or behind this. */
typedef struct owned {
    lf_program program;
    unsigned char *file;
} owned;

/* A program while it is read. */
typedef struct parts {
    const contents *has;
    lf_records records;
    lf_tensor *tensors;
    lf_program_input *inputs;
    lf_program_output *outputs;
    lf_program_state *states;
    lf_op *ops;
    lf_attribute *attributes; /* those that are left */
    size_t attributes_left;
    lf_fact *facts;
} parts;

/* ---- the header ---- */

static lf_status read_contents(const unsigned char *bytes, size_t size, contents *has) {
    uint32_t header[HEADER_WORDS];
    size_t fewest = 0;
    memcpy(header, bytes, sizeof header);
    if (header[2] != VERSION)
        return LF_ERR_VERSION;
    for (size_t n = 0; n < SORTS; n++) {
        has->counts[n] = header[3 + n];
        if (has->counts[n] > MOST_RECORDS)
            return LF_ERR_PROGRAM;
        fewest += has->counts[n] * fewest_words[n];
    }
    has->words = header[10];
    has->text_bytes = header[11];
    /* so that no claim takes more memory than the file has */
    if (has->words > MOST_WORDS || has->words < fewest || header[14] || header[15])
        return LF_ERR_PROGRAM;
    const size_t text_at = HEADER_BYTES + 4 * has->words;
    if (size - LF_SHA256_BYTES < text_at || size - LF_SHA256_BYTES - text_at < has->text_bytes)
        return LF_ERR_PROGRAM;
    has->arrays_at = lf_round_up(text_at + has->text_bytes, LF_ALIGNMENT);
    if (size - LF_SHA256_BYTES < has->arrays_at)
        return LF_ERR_PROGRAM;
    has->array_bytes = size - LF_SHA256_BYTES - has->arrays_at;
    const uint64_t claimed = header[12] | (uint64_t)header[13] << 32;
    return claimed == has->array_bytes ? LF_OK : LF_ERR_PROGRAM;
}

/* Whether the bytes are a .lfm file that came through whole, and then what it says that it has. */
static lf_status look_at(const unsigned char *bytes, size_t size, contents *has) {
    unsigned char digest[LF_SHA256_BYTES];
    if (size < HEADER_BYTES + LF_SHA256_BYTES || memcmp(bytes, MAGIC, MAGIC_BYTES) != 0)
        return LF_ERR_PROGRAM;
    lf_sha256(bytes, size - LF_SHA256_BYTES, digest);
    if (memcmp(digest, bytes + size - LF_SHA256_BYTES, sizeof digest) != 0)
        return LF_ERR_PROGRAM;
    return read_contents(bytes, size, has);
}

/* ---- the records ---- */

static int take_name(lf_records *records, uint32_t use, lf_text *name) {
    lf_known_text *known = lf_take_text(records, LF_LONGEST_NAME, name);
    return known && lf_use_as_name(known, use);
}

static int take_tensor(parts *p, size_t n) {
    const uint32_t *kind = lf_take(&p->records, 1);
    return kind && *kind <= LF_KIND_BOOL &&
           lf_take_shape(&p->records, (lf_kind)*kind, p->tensors + n);
}

static int take_input(parts *p, size_t n) {
    lf_program_input *input = p->inputs + n;
    lf_tensor given;
    lf_known_text *known = lf_take_text(&p->records, LF_LONGEST_NAME, &input->name);
    const uint32_t *words = known ? lf_take(&p->records, 2) : NULL;
    if (!words || !lf_use_as_name(known, LF_USE_INPUT) || (words[1] && !lf_use_as_history(known)) ||
        !lf_take_shape(&p->records, LF_KIND_FLOAT32, &given))
        return 0;
    input->tensor = words[0];
    input->history = words[1];
    input->given = given.shape;
    return 1;
}

static int take_output(parts *p, size_t n) {
    const int has_name = take_name(&p->records, LF_USE_OUTPUT, &p->outputs[n].name);
    const uint32_t *tensor = has_name ? lf_take(&p->records, 1) : NULL;
    if (!tensor)
        return 0;
    p->outputs[n].tensor = *tensor;
    return 1;
}

static int take_state(parts *p, size_t n) {
    lf_program_state *state = p->states + n;
    const int has_name = take_name(&p->records, LF_USE_STATE, &state->name);
    const uint32_t *words = has_name ? lf_take(&p->records, 2) : NULL;
    if (!words || words[0] >= p->has->counts[TENSORS])
        return 0;
    state->tensor = words[0];
    state->next = words[1];
    state->initial = lf_take_array(&p->records, p->tensors + words[0]);
    return state->initial != NULL;
}

/* before: the constant's tensor before this one, to which it has to be greater. */
static int take_constant(parts *p, const uint32_t *before, const uint32_t **number) {
    *number = lf_take(&p->records, 1);
    if (!*number || **number >= p->has->counts[TENSORS] || (before && **number <= *before))
        return 0;
    lf_tensor *tensor = p->tensors + **number;
    tensor->constant = lf_take_array(&p->records, tensor);
    return tensor->constant != NULL;
}

static int take_constants(parts *p) {
    const uint32_t *before = NULL, *number = NULL;
    for (size_t n = 0; n < p->has->counts[CONSTANTS]; n++, before = number)
        if (!take_constant(p, before, &number))
            return 0;
    return 1;
}

static int take_attributes(parts *p, const lf_signature *signature, lf_op *op) {
    op->attributes = p->attributes;
    for (size_t n = 0; n < LF_MAX_ATTRIBUTES && signature->attributes[n].name; n++) {
        if (!p->attributes_left ||
            !lf_take_attribute(&p->records, signature->attributes + n, p->attributes))
            return 0;
        p->attributes++;
        p->attributes_left--;
    }
    return 1;
}

static lf_status take_op(parts *p, lf_op *op) {
    const uint32_t *words = lf_take(&p->records, 3);
    const lf_signature *signature = words ? lf_signature_of(words[0]) : NULL;
    if (!words)
        return LF_ERR_PROGRAM;
    if (!signature)
        return LF_ERR_VERSION;
    op->code = (lf_operation_code)words[0];
    op->input_count = words[1];
    op->output_count = words[2];
    if (!lf_take_text(&p->records, LF_LONGEST_NAME, &op->source))
        return LF_ERR_PROGRAM;
    op->inputs = lf_take(&p->records, op->input_count);
    op->outputs = lf_take(&p->records, op->output_count);
    const int is_whole = op->inputs && op->outputs && take_attributes(p, signature, op);
    return is_whole ? LF_OK : LF_ERR_PROGRAM;
}

static int take_note(parts *p, size_t n) {
    lf_text text;
    (void)n;
    return lf_take_text(&p->records, LF_LONGEST_NOTE, &text) != NULL;
}

static int take_each(parts *p, int sort, int (*take)(parts *, size_t)) {
    for (size_t n = 0; n < p->has->counts[sort]; n++)
        if (!take(p, n))
            return 0;
    return 1;
}

static lf_status take_records(parts *p) {
    if (!take_each(p, TENSORS, take_tensor) || !take_each(p, INPUTS, take_input) ||
        !take_each(p, OUTPUTS, take_output) || !take_each(p, STATES, take_state) ||
        !take_constants(p))
        return LF_ERR_PROGRAM;
    for (size_t n = 0; n < p->has->counts[OPS]; n++) {
        const lf_status status = take_op(p, p->ops + n);
        if (status)
            return status;
    }
    const int is_used_up = take_each(p, NOTES, take_note) && !p->records.words_left &&
                           !p->records.array_bytes_left &&
                           lf_texts_are_canonical(&p->records.texts);
    return is_used_up ? LF_OK : LF_ERR_PROGRAM;
}

/* ---- memory ---- */

static size_t room(size_t count, size_t bytes) { return lf_round_up(count * bytes, LF_ALIGNMENT); }

/* The next `count` things of a block that has room for them. */
static void *carve(char **at, size_t count, size_t bytes) {
    void *const result = *at;
    *at += room(count, bytes);
    return result;
}

/* How many attributes there can be: each has a word, and no operation has more than some. */
static size_t most_attributes(const contents *has) {
    size_t words = has->words;
    for (size_t n = 0; n < SORTS; n++)
        words -= has->counts[n] * fewest_words[n];
    const size_t most = has->counts[OPS] * LF_MAX_ATTRIBUTES;
    return words < most ? words : most;
}

static owned *make_owned(const contents *has, parts *p) {
    const size_t *counts = has->counts, attributes = most_attributes(has);
    char *at = lf_alloc_zeroed(
        room(1, sizeof(owned)) + room(counts[TENSORS], sizeof *p->tensors) +
        room(counts[INPUTS], sizeof *p->inputs) + room(counts[OUTPUTS], sizeof *p->outputs) +
        room(counts[STATES], sizeof *p->states) + room(counts[OPS], sizeof *p->ops) +
        room(attributes, sizeof *p->attributes));
    if (!at)
        return NULL;
    owned *self = carve(&at, 1, sizeof *self);
    p->tensors = carve(&at, counts[TENSORS], sizeof *p->tensors);
    p->inputs = carve(&at, counts[INPUTS], sizeof *p->inputs);
    p->outputs = carve(&at, counts[OUTPUTS], sizeof *p->outputs);
    p->states = carve(&at, counts[STATES], sizeof *p->states);
    p->ops = carve(&at, counts[OPS], sizeof *p->ops);
    p->attributes = carve(&at, attributes, sizeof *p->attributes);
    p->attributes_left = attributes;
    self->program = (lf_program){.tensor_count = (uint32_t)counts[TENSORS],
                                 .input_count = (uint32_t)counts[INPUTS],
                                 .output_count = (uint32_t)counts[OUTPUTS],
                                 .state_count = (uint32_t)counts[STATES],
                                 .op_count = (uint32_t)counts[OPS],
                                 .tensors = p->tensors,
                                 .inputs = p->inputs,
                                 .outputs = p->outputs,
                                 .states = p->states,
                                 .ops = p->ops};
    return self;
}

/* What only reading needs; returns what is to be freed, or null. */
static void *make_scratch(const contents *has, parts *p) {
    const size_t *counts = has->counts;
    const size_t texts =
        1 + counts[INPUTS] + counts[OUTPUTS] + counts[STATES] + counts[OPS] + counts[NOTES];
    lf_texts *t = &p->records.texts;
    void *const scratch =
        lf_alloc_zeroed(room(texts, sizeof *t->known) + 2 * room(texts, sizeof *t->order) +
                        room(counts[TENSORS], sizeof *p->facts));
    char *at = scratch;
    if (!scratch)
        return NULL;
    t->known = carve(&at, texts, sizeof *t->known);
    t->order = carve(&at, texts, sizeof *t->order);
    t->spare = carve(&at, texts, sizeof *t->spare);
    p->facts = carve(&at, counts[TENSORS], sizeof *p->facts);
    return scratch;
}

/* ---- the whole file ---- */

static lf_status read_file(owned *self, parts *p) {
    const contents *has = p->has;
    const unsigned char *const text = self->file + HEADER_BYTES + 4 * has->words;
    const unsigned char *const arrays = self->file + has->arrays_at;
    if (!lf_are_zeros(text + has->text_bytes, (size_t)(arrays - text) - has->text_bytes))
        return LF_ERR_PROGRAM;
    p->records.words = (const uint32_t *)(const void *)(self->file + HEADER_BYTES);
    p->records.words_left = has->words;
    p->records.arrays = arrays;
    p->records.array_bytes_left = has->array_bytes;
    p->records.texts.text = (const char *)text;
    p->records.texts.bytes = has->text_bytes;
    lf_begin_texts(&p->records.texts);
    const lf_status status = take_records(p);
    return status ? status : lf_check_program(&self->program, p->facts);
}

static lf_status parse(const unsigned char *bytes, size_t size, const contents *has, owned **made) {
    parts p = {.has = has};
    owned *self = *made = make_owned(has, &p);
    if (!self)
        return LF_ERR_MEMORY;
    self->file = lf_alloc_zeroed(size);
    void *const scratch = make_scratch(has, &p);
    lf_status status = LF_ERR_MEMORY;
    if (self->file && scratch) {
        memcpy(self->file, bytes, size);
        self->program.file_bytes = size;
        memcpy(self->program.fingerprint, bytes + size - LF_SHA256_BYTES, LF_FINGERPRINT_BYTES);
        status = read_file(self, &p);
    }
    lf_free(scratch);
    return status;
}

static int is_little_endian(void) {
    const uint32_t one = 1;
    unsigned char first;
    memcpy(&first, &one, 1);
    return first;
}

lf_status lf_program_parse(const void *bytes, size_t size, lf_program **program) {
    contents has;
    owned *self = NULL;
    if (!bytes || !program)
        return LF_ERR_ARGUMENT;
    *program = NULL;
    if (!is_little_endian()) /* words and arrays are used where they are */
        return LF_ERR_UNSUPPORTED;
    lf_status status = look_at(bytes, size, &has);
    if (!status)
        status = parse(bytes, size, &has, &self);
    lf_program *const made = self ? &self->program : NULL;
    if (status)
        lf_program_destroy(made);
    else
        *program = made;
    return status;
}

void lf_program_destroy(lf_program *program) {
    owned *self = (owned *)(void *)program;
    if (self)
        lf_free(self->file);
    lf_free(self);
}
