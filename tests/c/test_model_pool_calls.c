/*
 * Pools of whole models: runs in pieces, what is refused, and the calls for float32 alone beside those for any model.
 * Arguments: a .lfm file with an embedding, and one with one input and one output, both float32.
 * Linked with --wrap=malloc and so on.
 */
#include "small_lstm.h"

#include "model_pools.h"

/* ---- pieces that are stopped ---- */

static void test_stops(void) {
    const size_t T = steps_of_three_pieces();
    open_all(N, 1);
    values v = make_values(model, N * T);
    fill(&v, &seed);
    for (int stops_at = 2; stops_at >= 0; stops_at--) {
        int looks = stops_at;
        const int status = lf_pool_run_values_in_pieces(pool, handles, N, T, NULL, v.inputs,
                                                        v.outputs, NULL, go_on, &looks);
        CHECK(status == (stops_at ? LF_STOPPED : LF_OK));
        for (size_t s = 0; s < N; s++)
            CHECK(states_are_equal(s, streams[s]) == (stops_at != 0));
    }
    for (size_t s = 0; s < N; s++)
        CHECK(is_as_alone(&v, s, s, T, T) && states_are_equal(s, streams[s]));
    free_values(&v);
    close_all();
}

/* A stream alone, the same. */
static void test_stream_in_pieces(void) {
    const size_t steps = 2 * lf_piece_steps(model, 1) + 3;
    values v = make_values(model, steps), expected = make_values(model, steps);
    lf_stream *one, *other;
    CHECK(lf_stream_create(model, &one) == LF_OK && lf_stream_create(model, &other) == LF_OK);
    fill(&v, &seed);
    copy_inputs(&expected, &v, 0, steps);
    const size_t bytes = model->plan->state_bytes;
    for (int stops_at = 2; stops_at >= 0; stops_at--) {
        int looks = stops_at;
        const int status =
            lf_stream_run_values_in_pieces(one, v.inputs, steps, v.outputs, go_on, &looks);
        CHECK(status == (stops_at ? LF_STOPPED : LF_OK));
        CHECK((memcmp(one->state, other->state, bytes) == 0) == (stops_at != 0));
    }
    CHECK(lf_stream_run(other, expected.inputs, steps, expected.outputs) == LF_OK);
    CHECK(memcmp(one->state, other->state, bytes) == 0);
    for (size_t i = 0; i < v.output_count; i++)
        CHECK(memcmp(v.outputs[i], expected.outputs[i], steps * v.output_bytes[i]) == 0);
    int looks = -1;
    ((int64_t *)v.inputs_memory[v.index_input])[steps - 1] = 5;
    CHECK(lf_stream_run_values_in_pieces(one, v.inputs, steps, v.outputs, go_on, &looks) ==
          LF_ERR_INDEX);
    CHECK(looks == -3 && memcmp(one->state, other->state, bytes) == 0);
    allowed = allocations;
    CHECK(lf_stream_run_values_in_pieces(one, v.inputs, steps, v.outputs, go_on, &looks) ==
          LF_ERR_MEMORY);
    allowed = PLENTY;
    lf_stream_destroy(one);
    lf_stream_destroy(other);
    free_values(&v);
    free_values(&expected);
}

/* ---- what is refused ---- */

static void test_refusals(void) {
    void *states[8] = {NULL}, *outputs[8];
    const void *inputs[8];
    float some[64] = {0};
    size_t bad = 99, lengths[1] = {1};
    open_all(N, 1);
    values v = make_values(model, N);
    CHECK(v.input_count > 1 && v.output_count > 1);
    CHECK(lf_pool_step_f32(pool, handles, 1, some, some + 32, NULL) == LF_ERR_KIND);
    CHECK(lf_pool_run_f32(pool, handles, 1, 1, NULL, some, some + 32, NULL) == LF_ERR_KIND);
    CHECK(lf_pool_get_state_f32(pool, handles[0], some, some) == LF_ERR_KIND);
    CHECK(lf_pool_set_state_f32(pool, handles[0], some, some) == LF_ERR_KIND);
    CHECK(lf_pool_get_states(pool, handles[0], states) == LF_ERR_ARGUMENT);
    CHECK(lf_pool_set_states(pool, handles[0], (const void *const *)states) == LF_ERR_ARGUMENT);
    CHECK(lf_pool_step(pool, handles, 1, NULL, v.outputs, NULL) == LF_ERR_ARGUMENT);
    CHECK(lf_pool_step(pool, handles, 1, v.inputs, NULL, NULL) == LF_ERR_ARGUMENT);
    CHECK(lf_pool_step(NULL, handles, 1, v.inputs, v.outputs, NULL) == LF_ERR_ARGUMENT);
    CHECK(lf_pool_step(pool, NULL, 0, NULL, NULL, NULL) == LF_OK);
    for (size_t i = 0; i < v.output_count; i++) {
        memcpy(outputs, v.outputs, v.output_count * sizeof *outputs);
        outputs[i] = NULL;
        CHECK(lf_pool_step(pool, handles, 1, v.inputs, outputs, NULL) == LF_ERR_ARGUMENT);
        for (size_t other = 0; other < v.input_count; other++) {
            outputs[i] = v.inputs_memory[other];
            CHECK(lf_pool_step(pool, handles, N, v.inputs, outputs, NULL) == LF_ERR_OVERLAP);
        }
        outputs[i] = v.outputs[(i + 1) % v.output_count];
        CHECK(lf_pool_step(pool, handles, N, v.inputs, outputs, NULL) == LF_ERR_OVERLAP);
        outputs[i] = handles;
        CHECK(lf_pool_step(pool, handles, 1, v.inputs, outputs, NULL) == LF_ERR_OVERLAP);
        outputs[i] = lengths;
        CHECK(lf_pool_run(pool, handles, 1, 1, lengths, v.inputs, outputs, NULL) == LF_ERR_OVERLAP);
    }
    memcpy(inputs, v.inputs, v.input_count * sizeof *inputs);
    inputs[1] = NULL;
    CHECK(lf_pool_step(pool, handles, 1, inputs, v.outputs, NULL) == LF_ERR_ARGUMENT);
    lengths[0] = 2;
    CHECK(lf_pool_run(pool, handles, 1, 1, lengths, v.inputs, v.outputs, &bad) == LF_ERR_SHAPE);
    unsigned long long twice[3] = {handles[0], handles[1], handles[0]};
    CHECK(lf_pool_step(pool, twice, 3, v.inputs, v.outputs, &bad) == LF_ERR_REPEATED && bad == 2);
    atomic_store(&slot_of(1)->key, 77); /* as if another thread were inside */
    CHECK(lf_pool_step(pool, handles, 3, v.inputs, v.outputs, &bad) == LF_ERR_BUSY && bad == 1);
    atomic_store(&slot_of(1)->key, handles[1]);
    for (size_t n = 0; n < N; n++)
        CHECK(states_are_equal(n, streams[n])); /* none has come a step */
    CHECK(lf_pool_step(pool, handles, N, v.inputs, v.outputs, NULL) == LF_OK); /* nor is in use */
    free_values(&v);
    close_all();
}

/* ---- the calls for float32 alone, and those for any model ---- */

static void compare_calls(const lf_model *simple) {
    enum { COUNT = 5, STEPS = 3 };
    const lf_value_info *const x = lf_model_input(simple, 0), *const y = lf_model_output(simple, 0);
    lf_pool *two[2];
    unsigned long long of[2][COUNT];
    values v = make_values(simple, COUNT * STEPS);
    float *const ys = malloc(COUNT * STEPS * y->bytes);
    void *states[2][8];
    fill(&v, &seed);
    for (int p = 0; p < 2; p++) {
        CHECK(lf_pool_create(simple, COUNT, 2, 1, &two[p]) == LF_OK);
        for (int n = 0; n < COUNT; n++)
            CHECK(lf_pool_open(two[p], &of[p][n]) == LF_OK);
        make_states(simple, states[p]);
    }
    CHECK(x->bytes &&
          lf_pool_run(two[0], of[0], COUNT, STEPS, NULL, v.inputs, v.outputs, NULL) == LF_OK);
    CHECK(lf_pool_run_f32(two[1], of[1], COUNT, STEPS, NULL, v.inputs[0], ys, NULL) == LF_OK);
    CHECK(memcmp(v.outputs[0], ys, COUNT * STEPS * y->bytes) == 0);
    CHECK(lf_pool_step(two[0], of[0], COUNT, v.inputs, v.outputs, NULL) == LF_OK);
    CHECK(memcmp(v.outputs[0], ys, COUNT * y->bytes) != 0); /* negative control: another step */
    CHECK(lf_pool_step_f32(two[1], of[1], COUNT, v.inputs[0], ys, NULL) == LF_OK);
    CHECK(memcmp(v.outputs[0], ys, COUNT * y->bytes) == 0);
    for (int p = 0; p < 2; p++)
        CHECK(lf_pool_get_states(two[p], of[p][COUNT - 1], states[p]) == LF_OK);
    for (size_t n = 0; n < lf_model_state_count(simple); n++)
        CHECK(memcmp(states[0][n], states[1][n], lf_model_state(simple, n)->bytes) == 0);
    CHECK(lf_pool_set_states(two[0], of[0][0], (const void *const *)states[1]) == LF_OK);
    CHECK(lf_pool_get_states(two[0], of[0][0], states[0]) == LF_OK);
    for (size_t n = 0; n < lf_model_state_count(simple); n++)
        CHECK(memcmp(states[0][n], states[1][n], lf_model_state(simple, n)->bytes) == 0);
    for (int p = 0; p < 2; p++) {
        free_states(simple, states[p]);
        lf_pool_destroy(two[p]);
    }
    free(ys);
    free_values(&v);
}

static void test_create(void) {
    int needed = 0;
    for (allowed = 0, allocations = 0; needed < 99; allowed = ++needed, allocations = 0) {
        pool = NULL;
        const lf_status status = lf_pool_create(model, 2, 1, 2, &pool); /* leaks show at exit */
        if (status == LF_OK)
            break;
        CHECK(status == LF_ERR_MEMORY && pool == NULL);
    }
    allowed = PLENTY;
    CHECK(needed >= 5 && lf_pool_grow(pool, SIZE_MAX) == LF_ERR_SHAPE);
    lf_pool_destroy(pool);
}

int main(int count, char **arguments) {
    lf_model *simple, *lstm;
    CHECK(count == 3);
    CHECK(count == 3 && (model = read_model(arguments[1], NULL)) != NULL);
    CHECK(count == 3 && (simple = read_model(arguments[2], NULL)) != NULL);
    CHECK(small_lstm(NULL, LF_FLOAT32, &lstm) == LF_OK);
    if (check_failed)
        return check_failures("calls of model pools");
    test_stops();
    test_stream_in_pieces();
    test_refusals();
    compare_calls(simple);
    compare_calls(lstm);
    test_create();
    lf_model_destroy(lstm);
    lf_model_destroy(simple);
    lf_model_destroy(model);
    return check_failures("calls of model pools");
}
