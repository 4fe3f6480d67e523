/* Running a plan: one step of one session, or of several at once, instruction by instruction. */
#include <string.h>

#include "../pass.h"
#include "../tuning.h"
#include "plan.h"

/* Arrays for the rows and sessions of a call, one set for each instruction in turn. */
typedef struct run {
    const lf_plan *plan;
    size_t sessions;
    int descending; /* through the panels of an LSTM */
    char *const *states;
    char *const *kept; /* prepared halves of each, or null */
    int prepares;      /* they are being made */
    char *scratch;     /* [sessions][scratch_bytes] */
    float *sums;       /* of products: [LF_PRODUCT_ROWS][panel]; of an LSTM: [2][sessions][panel] */
    lf_segment *single;        /* [segments] */
    lf_row_segment *several;   /* [segments] */
    const void **values;       /* [segments][rows at once] */
    float **results;           /* [LF_PRODUCT_ROWS] */
    float **rows[LF_RUN_ROWS]; /* of an LSTM: [sessions] each */
    lf_operand *operands[LF_HALVES];
} run;

static size_t panel_rows(const lf_isa *isa) {
    return LF_NARROW_VECTORS * isa->lanes * isa->wide_panel;
}

/* Rows of a product at once: fewer where each has many parts, of which all addresses are written down. */
static size_t rows_at_once(size_t segments) {
    return segments <= LF_PRODUCT_ROWS ? LF_PRODUCT_ROWS : 1;
}

/* A part of the memory of a run; counts alone where there is none yet. */
static void *part(char *memory, size_t *at, size_t bytes) {
    char *const begin = memory ? memory + *at : NULL;
    *at += lf_round_up(bytes, LF_ALIGNMENT);
    return begin;
}

static size_t divide(const lf_plan *plan, char *memory, size_t sessions, run *r) {
    size_t at = 0, sums = LF_PRODUCT_ROWS * panel_rows(plan->isa);
    const size_t lstm_sums = LF_HALVES * sessions * panel_rows(plan->isa);
    if (plan->has_lstm && lstm_sums > sums)
        sums = lstm_sums;
    r->scratch = part(memory, &at, sessions * plan->scratch_bytes);
    r->sums = part(memory, &at, sums * sizeof *r->sums);
    r->single = part(memory, &at, plan->most_segments * sizeof *r->single);
    r->several = part(memory, &at, plan->most_segments * sizeof *r->several);
    /* see rows_at_once: what has more parts goes row by row */
    r->values =
        part(memory, &at,
             (LF_PRODUCT_ROWS * LF_PRODUCT_ROWS + plan->most_segments) * sizeof(const void *));
    r->results = part(memory, &at, LF_PRODUCT_ROWS * sizeof *r->results);
    for (int n = 0; n < LF_RUN_ROWS; n++)
        r->rows[n] = part(memory, &at, sessions * sizeof *r->rows[n]);
    for (int n = 0; n < LF_HALVES; n++)
        r->operands[n] = part(memory, &at, sessions * sizeof *r->operands[n]);
    return at;
}

size_t lf_run_bytes(const lf_plan *plan, size_t sessions) {
    run r;
    return divide(plan, NULL, sessions, &r);
}

static char *address(const run *r, lf_place place, size_t s) {
    switch (place.room) {
    case LF_IN_SCRATCH:
        return r->scratch + s * r->plan->scratch_bytes + place.offset;
    case LF_IN_STATE:
        return r->states[s] + place.offset;
    case LF_IN_MODEL:
    case LF_ROOMS:
        break;
    }
    return r->plan->weights + place.offset;
}

static float *floats(const run *r, lf_place place, size_t s) {
    return (float *)(void *)address(r, place, s);
}

/* ---- prepared halves ---- */

static float *kept_at(const run *r, const lf_instruction *one, size_t s) {
    return r->kept && one->can_prepare ? (float *)(void *)(r->kept[s] + one->kept) : NULL;
}

static lf_halves halves_of(const run *r, const lf_instruction *one) {
    if (r->prepares)
        return lf_recurrent_half;
    return r->kept && one->can_prepare ? lf_input_half : lf_both_halves;
}

/* ---- products ---- */

static void multiply(run *r, const lf_run_product *p, size_t count) {
    const lf_product_rows rows = {.single = r->single,
                                  .several = r->several,
                                  .segments = p->segments,
                                  .count = count,
                                  .y = r->results,
                                  .sums = r->sums};
    const size_t most = rows_at_once(p->segments);
    ptrdiff_t at = 0;
    size_t in_line = 0;
    for (size_t segment = 0; segment < p->segments; segment++) {
        const void **const values = r->values + segment * most;
        for (size_t row = 0; segment && row < count; row++)
            values[row] = (const char *)r->values[row] + at;
        at += p->segment_step;
        if (++in_line == p->line_segments) {
            at += p->line_step;
            in_line = 0;
        }
        r->single[segment] = (lf_segment){values[0], p->segment_count};
        r->several[segment] = (lf_row_segment){values, p->segment_count};
    }
    r->plan->isa->product(&p->product, &rows);
}

/* A recurrent half of a GRU, which is one row, is there already. */
static void take_kept(const run *r, const lf_instruction *one) {
    for (size_t s = 0; s < r->sessions; s++)
        memcpy(floats(r, one->y[0], s), kept_at(r, one, s),
               one->product.product.outputs * sizeof(float));
}

/* The rows of all sessions, as many at once as their sums leave room for. */
static void run_product(run *r, const lf_instruction *one) {
    const lf_run_product *const p = &one->product;
    const lf_loops *const rows = &p->rows;
    const size_t most = rows_at_once(p->segments);
    size_t count = 0;
    for (size_t s = 0; s < r->sessions; s++) {
        const float *x = floats(r, one->x[0], s);
        float *y = r->prepares ? kept_at(r, one, s) : floats(r, one->y[0], s);
        uint32_t index[LF_MAX_RANK] = {0};
        for (size_t row = 0; row < p->row_count; row++) {
            r->values[count] = x;
            r->results[count++] = y;
            if (count == most) {
                multiply(r, p, count);
                count = 0;
            }
            for (uint32_t axis = rows->rank; axis-- > 0;) {
                y += rows->strides[0][axis];
                x += rows->strides[1][axis];
                if (++index[axis] < rows->sizes[axis])
                    break;
                y -= (ptrdiff_t)rows->sizes[axis] * rows->strides[0][axis];
                x -= (ptrdiff_t)rows->sizes[axis] * rows->strides[1][axis];
                index[axis] = 0;
            }
        }
    }
    if (count)
        multiply(r, p, count);
}

/* ---- LSTM ---- */

/* A row in whole vectors, zeros behind its values. */
static void take_row(const lf_isa *isa, float *row, const float *values, size_t count) {
    (void)isa->take_frame_f32(row, values, count);
}

static void run_lstm_alone(const run *r, const lf_instruction *one) {
    const lf_isa *const isa = r->plan->isa;
    const lf_layer *const layer = one->lstm.layer;
    char *const quants = address(r, one->x[5], 0);
    const lf_halves halves = halves_of(r, one);
    lf_pass pass = {
        .layer = layer,
        .first_half = halves.first,
        .end_half = halves.end,
        .descending = r->descending,
        .x = floats(r, one->x[3], 0),
        .h = floats(r, one->x[4], 0),
        .c = floats(r, one->y[1], 0),
        .h_out = floats(r, one->y[0], 0),
        .recurrent = kept_at(r, one, 0),
        .quants = {quants, quants + one->lstm.quant_bytes},
        .pre = floats(r, one->x[6], 0),
    };
    take_row(isa, floats(r, one->x[4], 0), floats(r, one->x[1], 0), layer->output_size);
    if (!r->prepares) {
        take_row(isa, floats(r, one->x[3], 0), floats(r, one->x[0], 0), layer->input_size);
        take_row(isa, pass.c, floats(r, one->x[2], 0), layer->hidden_size);
    }
    isa->layer_pass[one->lstm.type](&pass);
}

static void run_lstm_together(const run *r, const lf_instruction *one) {
    enum { X, H, C, O, PRE, X_QUANTS, H_QUANTS, KEPT };
    const lf_halves halves = halves_of(r, one);
    const lf_isa *const isa = r->plan->isa;
    const lf_layer *const layer = one->lstm.layer;
    for (size_t s = 0; s < r->sessions; s++) {
        r->rows[X][s] = floats(r, one->x[3], s);
        r->rows[H][s] = floats(r, one->y[0], s);
        r->rows[C][s] = floats(r, one->y[1], s);
        r->rows[O][s] = floats(r, one->x[4], s);
        r->rows[PRE][s] = floats(r, one->x[6], s);
        char *const quants = address(r, one->x[5], s);
        r->rows[X_QUANTS][s] = (float *)(void *)quants;
        r->rows[H_QUANTS][s] = (float *)(void *)(quants + one->lstm.quant_bytes);
        r->rows[KEPT][s] = kept_at(r, one, s);
        take_row(isa, r->rows[H][s], floats(r, one->x[1], s), layer->output_size);
        if (r->prepares)
            continue;
        take_row(isa, r->rows[X][s], floats(r, one->x[0], s), layer->input_size);
        take_row(isa, r->rows[C][s], floats(r, one->x[2], s), layer->hidden_size);
    }
    lf_batch batch = {
        .layer = layer,
        .first_half = halves.first,
        .end_half = halves.end,
        .descending = r->descending,
        .prefetches = !r->plan->fits_l2,
        .sessions = r->sessions,
        .x = (const float *const *)r->rows[X],
        .h = r->rows[H],
        .c = r->rows[C],
        .o = r->rows[O],
        .recurrent = halves.end - halves.first == LF_HALVES ? NULL : r->rows[KEPT],
        .sums = r->sums,
        .quants = {(void *const *)r->rows[X_QUANTS], (void *const *)r->rows[H_QUANTS]},
        .operands = {r->operands[LF_INPUT], r->operands[LF_RECURRENT]},
        .pre = r->rows[PRE],
    };
    isa->batch_pass[one->lstm.type](&batch);
}

/* ---- one instruction ---- */

static lf_status run_for(const run *r, const lf_instruction *one, size_t s) {
    const lf_isa *const isa = r->plan->isa;
    switch (one->kind) {
    case LF_RUN_DEPTHWISE:
        isa->depthwise(&one->depthwise, floats(r, one->x[0], s), floats(r, one->y[0], s));
        return LF_OK;
    case LF_RUN_GRU_RESET:
        isa->gru_reset(one->gru.hidden_size, floats(r, one->x[0], s), floats(r, one->x[1], s),
                       floats(r, one->x[2], s), floats(r, one->y[0], s));
        return LF_OK;
    case LF_RUN_GRU_OUTPUT:
        isa->gru_output(one->gru.hidden_size, one->gru.is_linear, floats(r, one->x[0], s),
                        floats(r, one->x[1], s), floats(r, one->x[2], s), floats(r, one->x[3], s),
                        floats(r, one->y[0], s));
        return LF_OK;
    case LF_RUN_UNARY:
        isa->unary(&one->elementwise, floats(r, one->y[0], s), floats(r, one->x[0], s));
        return LF_OK;
    case LF_RUN_BINARY:
        isa->binary(&one->elementwise, floats(r, one->y[0], s), floats(r, one->x[0], s),
                    floats(r, one->x[1], s));
        return LF_OK;
    case LF_RUN_ALONG:
        isa->along(&one->along, floats(r, one->y[0], s), floats(r, one->x[0], s),
                   floats(r, one->x[1], s));
        return LF_OK;
    case LF_RUN_ZERO:
        memset(address(r, one->y[0], s), 0, one->zero_bytes);
        return LF_OK;
    case LF_RUN_PLAIN: {
        const void *x[LF_MAX_PLACES];
        for (uint32_t n = 0; n < one->places; n++)
            x[n] = address(r, one->x[n], s);
        return lf_run_plain(&one->plain, address(r, one->y[0], s), x);
    }
    case LF_RUN_PRODUCT:
    case LF_RUN_LSTM:
        break; /* these take all sessions at once */
    }
    return LF_OK;
}

/* *bad: the session that a failure is of. */
static lf_status run_instruction(run *r, const lf_instruction *one, size_t *bad) {
    lf_status status = LF_OK;
    if (one->kind == LF_RUN_PRODUCT && r->kept && one->can_prepare && !r->prepares)
        take_kept(r, one);
    else if (one->kind == LF_RUN_PRODUCT)
        run_product(r, one);
    else if (one->kind == LF_RUN_LSTM && r->sessions == 1)
        run_lstm_alone(r, one);
    else if (one->kind == LF_RUN_LSTM)
        run_lstm_together(r, one);
    else
        for (size_t s = 0; status == LF_OK && s < r->sessions; s++) {
            *bad = s;
            status = run_for(r, one, s);
        }
    return status;
}

/* ---- a step ---- */

/* A frame to its buffer, the history of its input in front of each row. Floats become canonical. */
static void take_input(const run *r, const lf_plan_input *input, size_t s, const char *frame) {
    const size_t element = lf_kind_bytes(input->kind);
    const size_t before = input->history_count * element, new = input->row_count * element;
    char *const begin = address(r, input->at, s);
    char *to = begin;
    const char *history = before ? address(r, input->history, s) : NULL;
    for (size_t row = 0; row < input->rows; row++) {
        if (before)
            memcpy(to, history + row * before, before);
        memcpy(to + before, frame + row * new, new);
        to += before + new;
    }
    const size_t count = input->rows * (input->history_count + input->row_count);
    if (input->kind == LF_KIND_FLOAT32)
        r->plan->isa->canonicalise_f32((float *)(void *)begin,
                                       lf_round_up(count, r->plan->isa->lanes));
    for (size_t n = 0; input->kind == LF_KIND_BOOL && n < count; n++)
        begin[n] = begin[n] != 0;
}

static void keep_history(const run *r, const lf_plan_input *input, size_t s) {
    const size_t element = lf_kind_bytes(input->kind);
    const size_t before = input->history_count * element, new = input->row_count * element;
    const char *const rows = address(r, input->at, s);
    for (size_t row = 0; before && row < input->rows; row++)
        memcpy(address(r, input->history, s) + row * before, rows + row * (before + new) + new,
               before);
}

/* Results are given before states change: a caller may have one that is a state of before. */
static void finish(const run *r, size_t s, size_t at, void *const *outputs) {
    const lf_plan *const plan = r->plan;
    for (size_t n = 0; n < plan->output_count; n++)
        lf_copy_loops(&plan->gives[n].loops, plan->gives[n].element_bytes,
                      (char *)outputs[n] + at * plan->gives[n].bytes,
                      address(r, plan->gives[n].from, s));
    for (size_t n = 0; n < plan->own_states; n++)
        lf_copy_loops(&plan->keeps[n].loops, plan->keeps[n].element_bytes,
                      address(r, plan->keeps[n].to, s), address(r, plan->keeps[n].from, s));
    for (size_t n = 0; n < plan->input_count; n++)
        keep_history(r, &plan->takes[n], s);
}

lf_status lf_run_step(const lf_plan *plan, void *memory, size_t sessions, char *const *states,
                      char *const *kept, const size_t *at, const void *const *inputs,
                      void *const *outputs, size_t *bad) {
    run r = {.plan = plan,
             .sessions = sessions,
             .descending = lf_next_descends(plan->hot_gap),
             .states = states,
             .kept = kept};
    divide(plan, memory, sessions, &r);
    for (size_t s = 0; s < sessions; s++)
        for (size_t n = 0; n < plan->input_count; n++)
            take_input(&r, &plan->takes[n], s,
                       (const char *)inputs[n] + at[s] * plan->takes[n].bytes);
    for (size_t n = 0; n < plan->instruction_count; n++) {
        const lf_status status = run_instruction(&r, &plan->instructions[n], bad);
        if (status != LF_OK)
            return status;
    }
    for (size_t s = 0; s < sessions; s++)
        finish(&r, s, at[s], outputs);
    return LF_OK;
}

void lf_run_prepare(const lf_plan *plan, void *memory, size_t sessions, char *const *states,
                    char *const *kept) {
    run r = {.plan = plan,
             .sessions = sessions,
             .descending = lf_next_descends(plan->hot_gap),
             .states = states,
             .kept = kept,
             .prepares = 1};
    size_t bad;
    divide(plan, memory, sessions, &r);
    /* the last one first: the step begins with what this leaves in the caches */
    for (size_t n = plan->instruction_count; n-- > 0;) {
        const lf_instruction *const one = &plan->instructions[n];
        if (one->can_prepare && one->h_copied_ahead)
            (void)run_instruction(&r, one - one->h_copied_ahead, &bad); /* a copy never fails */
        if (one->can_prepare)
            (void)run_instruction(&r, one, &bad);
    }
}
