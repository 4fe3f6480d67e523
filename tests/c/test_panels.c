/*
 * One layer, whose panels are of both widths on every ISA, passed over in both directions, whole and in
 * halves, whatever the clock says: each time the same bits.
 */
#include <stdint.h>
#include <string.h>

#include "check.h"
#include "model.h"
#include "pseudo_random.h"

enum { I = 24, H = 39, ROW = 64 }; /* ROW: what each ISA pads them to, and more */

static float weight_ih[4 * H * I], weight_hh[4 * H * H], bias[4 * H];

typedef struct rows {
    _Alignas(64) float x[ROW], h[ROW], c[ROW], out[ROW], recurrent[LF_GATES * ROW];
    _Alignas(64) char quants[2][2 * ROW];
} rows;

static void fill(float *values, size_t count, uint32_t seed) {
    for (size_t j = 0; j < count; j++)
        values[j] = pseudo_random(&seed);
}

static rows new_rows(void) {
    rows r = {{0}, {0}, {0}, {0}, {0}, {{0}, {0}}};
    fill(r.x, I, 1);
    fill(r.h, H, 2);
    fill(r.c, H, 3);
    return r;
}

static void pass_over(const lf_model *model, rows *r, size_t first, size_t end, int descending) {
    lf_pass pass = {
        .layer = &model->layers[0],
        .first_half = first,
        .end_half = end,
        .descending = descending,
        .x = r->x,
        .h = r->h,
        .c = r->c,
        .h_out = r->out,
        .recurrent = end - first == 2 ? NULL : r->recurrent,
        .quants = {r->quants[0], r->quants[1]},
    };
    model->isa->layer_pass[model->weight_type](&pass);
}

static int same(const rows *a, const rows *b) {
    return memcmp(a->out, b->out, sizeof a->out) == 0 && memcmp(a->c, b->c, sizeof a->c) == 0;
}

static void check_directions(const lf_model *model) {
    const lf_layer *layer = &model->layers[0];
    const size_t wide = layer->wide_panels * model->isa->wide_panel * model->isa->lanes;
    CHECK(wide && wide < layer->padded_hidden); /* and some of one vector */
    rows whole = new_rows();
    pass_over(model, &whole, 0, 2, 0);
    for (int d = 0; d < 4; d++) {
        rows again = new_rows(), halves = new_rows(), other = new_rows();
        pass_over(model, &again, 0, 2, d & 1);
        CHECK(same(&again, &whole));
        pass_over(model, &halves, 1, 2, d >> 1);
        CHECK(memcmp(halves.c, other.c, sizeof halves.c) == 0); /* the second alone moves nothing */
        other = halves;
        pass_over(model, &halves, 0, 1, d & 1);
        CHECK(same(&halves, &whole));
        /* negative control: each of the kept sums counts, as a float or, for int8, as an integer */
        other.recurrent[(size_t)(d % 3) * LF_GATES * model->isa->lanes] = 1.0f;
        pass_over(model, &other, 0, 1, d & 1);
        CHECK(!same(&other, &whole));
    }
}

int main(void) {
    fill(weight_ih, sizeof weight_ih / sizeof *weight_ih, 4);
    fill(weight_hh, sizeof weight_hh / sizeof *weight_hh, 5);
    fill(bias, sizeof bias / sizeof *bias, 6);
    const lf_layer_weights layer = {
        .weight_ih = weight_ih, .weight_hh = weight_hh, .bias_ih = bias};
    for (size_t i = 0; i < lf_isa_count(); i++)
        for (int type = LF_FLOAT32; type <= LF_INT8 && !lf_isa_missing(i, 0); type++) {
            lf_model *model;
            CHECK(lf_model_create(I, H, 0, 1, &layer, (lf_weight_type)type, lf_isa_name(i), NULL,
                                  &model) == LF_OK);
            check_directions(model);
            lf_model_destroy(model);
        }
    return check_failures("panels");
}
