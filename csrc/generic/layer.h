/* A whole LSTM layer for one session: the sums and what follows them, by the kind of its cell. */
#ifndef LF_GENERIC_LAYER_H
#define LF_GENERIC_LAYER_H

LF_INLINE void lf_layer_pass(lf_weight_type type, int is_plain, const lf_pass *pass) {
    const lf_layer *layer = pass->layer;
    if (is_plain && lf_is_small(type, layer) && pass->end_half - pass->first_half == LF_HALVES) {
        small_pass(type, pass);
        return;
    }
    lf_pass_over_panels(type, pass);
    if (pass->first_half == LF_RECURRENT) {
        lf_prefetch_inputs(type, layer);
        return;
    }
    if (is_plain)
        lf_output(&lf_plain_cell, pass->c, pass->h_out, pass->h_out, layer->padded_hidden,
                  lf_any_noncanonical(pass->c, layer->padded_hidden));
    else
        lf_variant_output(type, pass);
}

/* Variants out of line, so that the plain cell costs no more than if there were no other. */
#define LF_LAYER_PASS(type, name, bytes, sums)                                                     \
    static LF_NOINLINE void variant_pass_##name(const lf_pass *pass) {                             \
        lf_layer_pass(type, 0, pass);                                                              \
    }                                                                                              \
    static void layer_pass_##name(lf_pass *pass) {                                                 \
        if (type == LF_INT8)                                                                       \
            lf_quantise_operands(pass);                                                            \
        if (pass->layer->variant)                                                                  \
            variant_pass_##name(pass);                                                             \
        else                                                                                       \
            lf_layer_pass(type, 1, pass);                                                          \
    }
LF_EACH_WEIGHT_TYPE(LF_LAYER_PASS)
#undef LF_LAYER_PASS

#endif
