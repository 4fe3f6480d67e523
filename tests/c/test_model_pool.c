/*
 * Pools of whole models: the bits of streams, whoever else is there; calls that fail half way; and threads.
 * Arguments: a .lfm file with an embedding, and one with one input and one output, both float32.
 * Linked with --wrap=malloc and so on.
 */
#include <pthread.h>

#include "model_pools.h"

enum { THREADS = 4, EACH = 5 };

static void test_bits(void) {
    open_all(N - 40, 2);
    for (int turn = 0; turn < 40; turn++) {
        const size_t n = below(N);
        call_some();
        if (turn % 5 == 1) {
            CHECK(lf_pool_reset(pool, handles[n]) == LF_OK);
            CHECK(lf_stream_reset(streams[n]) == LF_OK);
        } else if (turn % 5 == 2) {
            reopen(n);
        } else if (turn % 5 == 3) {
            CHECK(lf_pool_grow(pool, 1) == LF_OK);
        } else if (turn % 5 == 4) {
            copy_session(n, (n + 1) % N);
        }
    }
    for (size_t n = 0; n < N; n++)
        CHECK(states_are_equal(n, streams[n]));
    CHECK(lf_pool_reset(pool, handles[0]) ==
          LF_OK); /* negative control: one that is not as its stream */
    CHECK(lf_pool_reset(pool, handles[1]) == LF_OK);
    values v = make_values(model, 1);
    fill(&v, &seed);
    CHECK(lf_pool_step(pool, handles, 1, v.inputs, v.outputs, NULL) == LF_OK);
    CHECK(!states_are_equal(0, streams[0]));
    free_values(&v);
    close_all();
}

/* ---- a wrong index ---- */

/* Frame t of the nth session cannot be taken: no session has come a step, and *bad says which it is. */
static void fail_at(size_t n, size_t t, size_t steps, int pieces) {
    values v = make_values(model, N * steps);
    size_t bad = 999;
    int looks = -1;
    fill(&v, &seed);
    int64_t *const index = (int64_t *)v.inputs_memory[v.index_input] + n * steps + t;
    const int64_t right = *index;
    for (int wrong = -6; wrong <= 5; wrong += 11) {
        *index = wrong;
        const int status =
            pieces ? lf_pool_run_values_in_pieces(pool, handles, N, steps, NULL, v.inputs,
                                                  v.outputs, &bad, go_on, &looks)
                   : (int)lf_pool_run(pool, handles, N, steps, NULL, v.inputs, v.outputs, &bad);
        CHECK(status == LF_ERR_INDEX && bad == n);
        for (size_t s = 0; s < N; s++)
            CHECK(states_are_equal(s, streams[s]));
    }
    *index = right;
    CHECK(lf_pool_run(pool, handles, N, steps, NULL, v.inputs, v.outputs, &bad) == LF_OK);
    CHECK(!states_are_equal(0, streams[0])); /* negative control: that call counts */
    for (size_t s = 0; s < N; s++) {
        CHECK(is_as_alone(&v, s, s, steps, steps));
        CHECK(states_are_equal(s, streams[s]));
    }
    free_values(&v);
}

static void test_wrong_index(void) {
    open_all(N, 1);
    CHECK(pool->most < N && model->plan->can_fail); /* so there are two batches */
    for (int pieces = 0; pieces < 2; pieces++) {
        fail_at(N - 1, 0, 1, pieces);
        fail_at(N - 1, 2, 3, pieces);
        fail_at(0, 2, 3, pieces);
    }
    const size_t steps = steps_of_three_pieces();
    fail_at(3, steps - 1, steps, 1); /* in the last one */
    close_all();
}

/* ---- threads ---- */

/* Each with sessions of its own: nobody is refused, and all get their own bits. */
static void *stay_apart(void *argument) {
    uint32_t random = *(const uint32_t *)argument;
    unsigned long long own[EACH];
    lf_stream *alone;
    size_t wrong = lf_stream_create(model, &alone) != LF_OK;
    values v = make_values(model, EACH), expected = make_values(model, 1);
    for (size_t n = 0; n < EACH; n++)
        wrong += lf_pool_open(pool, &own[n]) != LF_OK;
    for (int turn = 0; turn < 30; turn++) {
        fill(&v, &random);
        copy_inputs(&expected, &v, 0, 1);
        for (size_t n = 1; n < EACH; n++)
            for (size_t i = 0; i < v.input_count; i++)
                memcpy((char *)v.inputs_memory[i] + n * v.input_bytes[i], v.inputs[i],
                       v.input_bytes[i]);
        wrong += lf_pool_step(pool, own, EACH, v.inputs, v.outputs, NULL) != LF_OK;
        wrong += lf_stream_step(alone, expected.inputs, expected.outputs) != LF_OK;
        for (size_t n = 0; n < EACH; n++)
            for (size_t i = 0; i < v.output_count; i++)
                wrong += memcmp((char *)v.outputs[i] + n * v.output_bytes[i], expected.outputs[i],
                                v.output_bytes[i]) != 0;
    }
    for (size_t n = 0; n < EACH; n++)
        wrong += lf_pool_close(pool, own[n]) != LF_OK;
    lf_stream_destroy(alone);
    free_values(&v);
    free_values(&expected);
    return wrong ? argument : NULL;
}

static void test_threads(size_t threads) {
    pthread_t ids[THREADS];
    uint32_t seeds[THREADS];
    CHECK(lf_pool_create(model, THREADS * EACH, 0, threads, &pool) == LF_OK);
    for (uint32_t n = 0; n < THREADS; n++) {
        seeds[n] = n + 1;
        CHECK(pthread_create(&ids[n], NULL, stay_apart, &seeds[n]) == 0);
    }
    for (int n = 0; n < THREADS; n++) {
        void *wrong;
        CHECK(pthread_join(ids[n], &wrong) == 0 && !wrong);
    }
    CHECK(lf_pool_open_count(pool) == 0);
    lf_pool_destroy(pool);
}

int main(int count, char **arguments) {
    CHECK(count == 3);
    for (size_t i = 0; !check_failed && i < lf_isa_count(); i++) {
        if (lf_isa_missing(i, 0))
            continue;
        CHECK((model = read_model(arguments[1], lf_isa_name(i))) != NULL);
        if (!model)
            break;
        test_bits();
        test_wrong_index();
        test_threads(THREADS);
        test_threads(1); /* too few workspaces */
        lf_model_destroy(model);
    }
    return check_failures("model pool");
}
