/* A GRU from its two products a = W_ih x + b_ih and u = W_hh h + b_hh, gates in the order r, z, n. */
#ifndef LF_GENERIC_GRU_H
#define LF_GENERIC_GRU_H

/* What the recurrent weights of n are multiplied with, unless it is linear before the reset: r h. */
static void gru_reset(size_t hidden_size, const float *a, const float *u, const float *h,
                      float *y) {
    for (size_t j = 0; j < hidden_size; j += LF_LANES) {
        const size_t rest = hidden_size - j;
        const vf r = lf_sigmoid(vf_add(lf_load_most(a + j, rest), lf_load_most(u + j, rest)));
        lf_store_most(y + j, lf_canonical(vf_mul(r, lf_load_most(h + j, rest))), rest);
    }
}

/* The new h. u_n: the recurrent sums of n. is_linear: r is still to be multiplied with them. */
static void gru_output(size_t hidden_size, int is_linear, const float *a, const float *u,
                       const float *u_n, const float *h, float *y) {
    const vf one = vf_set1(1.0f);
    for (size_t j = 0; j < hidden_size; j += LF_LANES) {
        const size_t rest = hidden_size - j, at_z = hidden_size + j, at_n = at_z + hidden_size;
        vf recurrent = lf_load_most(u_n + j, rest);
        if (is_linear) {
            const vf r = lf_sigmoid(vf_add(lf_load_most(a + j, rest), lf_load_most(u + j, rest)));
            recurrent = vf_mul(r, recurrent);
        }
        const vf z = lf_sigmoid(vf_add(lf_load_most(a + at_z, rest), lf_load_most(u + at_z, rest)));
        const vf n = lf_tanh(vf_add(lf_load_most(a + at_n, rest), recurrent));
        const vf next = vf_add(vf_mul(vf_sub(one, z), n), vf_mul(z, lf_load_most(h + j, rest)));
        lf_store_most(y + j, lf_canonical(next), rest);
    }
}

#endif
