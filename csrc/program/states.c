/* The state of a session of a whole model: one block, in which each value begins on a cache line. */
#include <string.h>

#include "../model.h"
#include "plan.h"

void lf_states_read(const lf_model *model, const char *state, void *const *states) {
    for (size_t n = 0; n < model->values.state_count; n++)
        memcpy(states[n], state + model->plan->state_offsets[n], model->values.states[n].bytes);
}

/* The nth one becomes canonical. */
static void write_one(const lf_model *model, char *state, size_t n, const void *value) {
    const lf_value_info *const info = &model->values.states[n];
    char *const to = state + model->plan->state_offsets[n];
    memcpy(to, value, info->bytes);
    if (info->kind == LF_KIND_FLOAT32)
        model->isa->canonicalise_f32((float *)(void *)to,
                                     lf_round_up(info->bytes / sizeof(float), model->isa->lanes));
    for (size_t i = 0; info->kind == LF_KIND_BOOL && i < info->bytes; i++)
        to[i] = to[i] != 0;
}

void lf_states_write(const lf_model *model, char *state, const void *const *states) {
    for (size_t n = 0; n < model->values.state_count; n++)
        write_one(model, state, n, states[n]);
}

void lf_states_pack(const lf_model *model, const char *state, char *bytes) {
    for (size_t n = 0; n < model->values.state_count; n++) {
        memcpy(bytes, state + model->plan->state_offsets[n], model->values.states[n].bytes);
        bytes += model->values.states[n].bytes;
    }
}

void lf_states_unpack(const lf_model *model, char *state, const char *bytes) {
    for (size_t n = 0; n < model->values.state_count; n++) {
        write_one(model, state, n, bytes);
        bytes += model->values.states[n].bytes;
    }
}
