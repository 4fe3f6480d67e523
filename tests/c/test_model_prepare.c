/*
 * What whole models do ahead of a step: the same bits as without, it is used, and it never outlives its state.
 * Arguments: a .lfm file with an embedding, and one with a layer of every kind.
 * Linked with --wrap=malloc and so on.
 */
#include <sys/wait.h>
#include <unistd.h>

#include "model_pools.h"

enum { ROOM = 7, SECONDS = 60 }; /* what open_all has room for */

/* ---- which layers ---- */

static size_t count_halves(int copied) {
    size_t count = 0;
    for (size_t n = 0; n < model->plan->instruction_count; n++) {
        const lf_instruction *const one = &model->plan->instructions[n];
        count += one->can_prepare && (one->h_copied_ahead != 0) == copied;
    }
    return count;
}

static size_t count_prepared(void) {
    size_t count = 0;
    for (size_t n = 0; n < N; n++)
        count += slot_of(n)->prepared != LF_NONE;
    return count;
}

/* ---- bits ---- */

static void prepare_some(void) {
    size_t chosen[N], ready = 99, count = choose(chosen, below(2) ? 5 : N), found = 0;
    unsigned long long called[N];
    for (size_t n = 0; n < count; n++)
        called[n] = handles[chosen[n]];
    const int before = allocations;
    CHECK(lf_pool_prepare(pool, called, count, &ready, NULL) == LF_OK);
    for (size_t n = 0; n < count; n++)
        found += slot_of(chosen[n])->prepared != LF_NONE;
    CHECK(ready == found && count_prepared() <= ROOM);
    CHECK(ready == count || count_prepared() == ROOM);
    for (size_t n = 0; n < N; n++)
        if (below(3) == 0)
            CHECK(lf_stream_prepare(streams[n]) == LF_OK && streams[n]->prepared);
    CHECK(allocations == before);
}

static void restore_session(size_t n) {
    const size_t size = lf_snapshot_bytes(model);
    char *const bytes = malloc(size);
    CHECK(lf_pool_snapshot(pool, handles[n], bytes, size) == LF_OK);
    CHECK(lf_pool_close(pool, handles[n]) == LF_OK);
    CHECK(lf_pool_restore(pool, bytes, size, &handles[n]) == LF_OK);
    CHECK(lf_stream_restore(streams[n], bytes, size) == LF_OK && !streams[n]->prepared);
    free(bytes);
}

static void test_bits(void) {
    open_all(N - 40, 2);
    for (int turn = 0; turn < 40; turn++) {
        const size_t n = below(N);
        prepare_some();
        if (turn % 6 == 1) {
            CHECK(lf_pool_reset(pool, handles[n]) == LF_OK);
            CHECK(lf_stream_reset(streams[n]) == LF_OK);
        } else if (turn % 6 == 2) {
            reopen(n);
        } else if (turn % 6 == 3) {
            CHECK(lf_pool_grow(pool, 1) == LF_OK);
        } else if (turn % 6 == 4) {
            copy_session(n, (n + 1) % N);
        } else if (turn % 6 == 5) {
            restore_session(n);
        }
        call_some();
    }
    for (size_t n = 0; n < N; n++)
        CHECK(states_are_equal(n, streams[n]));
    close_all();
}

/* ---- it is used: a wrong half is noticed ---- */

/* Of some units that much less, of the others that much more, or layer normalisation would not see it. */
static void plant(float *kept, const lf_instruction *one, float value) {
    const size_t count = one->kind == LF_RUN_LSTM ? LF_GATES * one->lstm.layer->padded_hidden
                                                  : one->product.product.outputs;
    for (size_t j = 0; j < count; j++)
        kept[one->kept / sizeof(float) + j] += j % 2 ? value : -value;
}

static void test_planted(void) {
    open_all(N, 1);
    values v = make_values(model, N);
    fill(&v, &seed);
    for (size_t n = 0; n < model->plan->instruction_count; n++) {
        const lf_instruction *const one = &model->plan->instructions[n];
        if (!one->can_prepare)
            continue;
        for (int plants = 0; plants < 2; plants++) {
            CHECK(lf_stream_reset(streams[1]) == LF_OK && lf_stream_reset(streams[2]) == LF_OK);
            CHECK(lf_stream_prepare(streams[2]) == LF_OK);
            plant(streams[2]->recurrent, one, (float)plants);
            for (int s = 1; s < 3; s++)
                CHECK(lf_stream_step(streams[s], v.inputs, v.outputs) == LF_OK);
            CHECK((memcmp(streams[1]->state, streams[2]->state, model->plan->state_bytes) != 0) ==
                  plants);
            for (size_t s = 0; s < 2; s++)
                CHECK(lf_pool_reset(pool, handles[s]) == LF_OK);
            CHECK(lf_pool_prepare(pool, handles, 2, NULL, NULL) == LF_OK);
            float *const kept = lf_slot_kept(pool, slot_of(1));
            plant(kept, one, (float)plants);
            for (size_t i = 0; i < v.input_count; i++) /* both the same frame */
                memcpy((char *)v.inputs_memory[i] + v.input_bytes[i], v.inputs[i],
                       v.input_bytes[i]);
            CHECK(lf_pool_step(pool, handles, 2, v.inputs, v.outputs, NULL) == LF_OK);
            CHECK(states_are_equal(0, streams[1]));
            CHECK(states_are_equal(1, streams[1]) == !plants);
            CHECK(is_zero(kept, model->plan->kept_bytes)); /* nobody's half stays there */
        }
    }
    free_values(&v);
    close_all();
}

/* ---- it does not outlive its state: it is made nothing but NaN, and nobody sees that ---- */

static void spoil(size_t n) {
    CHECK(lf_pool_prepare(pool, &handles[n], 1, NULL, NULL) == LF_OK);
    CHECK(lf_stream_prepare(streams[n]) == LF_OK);
    memset(lf_slot_kept(pool, slot_of(n)), 0xFF, model->plan->kept_bytes);
    memset(streams[n]->recurrent, 0xFF, model->plan->kept_bytes);
}

static void test_drops(void) {
    enum { RESET, SET, RESTORE, COPY, WAYS };
    lf_stream *fresh;
    void *states[STATES];
    const size_t size = lf_snapshot_bytes(model);
    char *const bytes = malloc(size);
    open_all(N, 1);
    make_states(model, states);
    values v = make_values(model, 1), expected = make_values(model, 1);
    CHECK(lf_stream_create(model, &fresh) == LF_OK);
    CHECK(lf_stream_get_states(fresh, states) == LF_OK);
    CHECK(lf_stream_snapshot(fresh, bytes, size) == LF_OK);
    for (int way = 0; way < WAYS; way++) {
        fill(&v, &seed);
        copy_inputs(&expected, &v, 0, 1);
        spoil(0);
        if (way == RESET) {
            CHECK(lf_pool_reset(pool, handles[0]) == LF_OK);
            CHECK(lf_stream_reset(streams[0]) == LF_OK);
        } else if (way == RESTORE) {
            CHECK(lf_pool_close(pool, handles[0]) == LF_OK);
            CHECK(lf_pool_restore(pool, bytes, size, &handles[0]) == LF_OK);
            CHECK(lf_stream_restore(streams[0], bytes, size) == LF_OK);
        } else {
            const void *const *const given = (const void *const *)states;
            CHECK(lf_pool_set_states(pool, handles[0], given) == LF_OK);
            CHECK(way == SET ? lf_stream_set_states(streams[0], given) == LF_OK
                             : lf_stream_copy(streams[0], fresh) == LF_OK);
        }
        CHECK(lf_stream_step(fresh, expected.inputs, expected.outputs) == LF_OK);
        CHECK(lf_stream_step(streams[0], v.inputs, v.outputs) == LF_OK);
        CHECK(memcmp(streams[0]->state, fresh->state, model->plan->state_bytes) == 0);
        CHECK(lf_pool_step(pool, handles, 1, v.inputs, v.outputs, NULL) == LF_OK);
        CHECK(states_are_equal(0, fresh));
        CHECK(lf_stream_reset(fresh) == LF_OK);
    }
    spoil(0); /* negative control: one that is used, is seen */
    CHECK(lf_pool_step(pool, handles, 1, v.inputs, v.outputs, NULL) == LF_OK);
    CHECK(!states_are_equal(0, fresh));
    CHECK(lf_stream_prepare(NULL) == LF_ERR_ARGUMENT);
    free_states(model, states);
    lf_stream_destroy(fresh);
    free_values(&v);
    free_values(&expected);
    free(bytes);
    close_all();
}

/* ---- calls that fail ---- */

/* Sessions 0 and 1 are prepared, 2 and 3 are not, so there are two batches; the nth has a wrong index. */
static void test_failing_step(void) {
    enum { CALLED = 4 };
    open_all(N, 1);
    CHECK(pool->most >= CALLED && model->plan->can_fail);
    for (size_t n = 0; n < CALLED; n++) {
        values v = make_values(model, CALLED);
        size_t bad = 99;
        fill(&v, &seed);
        CHECK(lf_pool_prepare(pool, handles, 2, NULL, NULL) == LF_OK);
        CHECK(lf_stream_prepare(streams[0]) == LF_OK);
        int64_t *const index = (int64_t *)v.inputs_memory[v.index_input] + n, right = *index;
        *index = 77;
        CHECK(lf_pool_step(pool, handles, CALLED, v.inputs, v.outputs, &bad) == LF_ERR_INDEX);
        CHECK(bad == n);
        if (n == 0)
            CHECK(lf_stream_step(streams[0], v.inputs, v.outputs) == LF_ERR_INDEX);
        for (size_t s = 0; s < CALLED; s++)
            CHECK(states_are_equal(s, streams[s]));
        *index = right;
        CHECK(lf_pool_step(pool, handles, CALLED, v.inputs, v.outputs, &bad) == LF_OK);
        for (size_t s = 0; s < CALLED; s++)
            CHECK(is_as_alone(&v, s, s, 1, 1) && states_are_equal(s, streams[s]));
        free_values(&v);
    }
    close_all();
}

/* ---- forks ---- */

/* Of streams alone: one in a step, which was prepared, and one whose half was being made. */
static void use_streams_in_child(lf_stream *torn, lf_stream *whole) {
    values v = make_values(model, 1);
    CHECK(lf_stream_step(torn, v.inputs, v.outputs) == LF_ERR_FORKED);
    CHECK(lf_stream_prepare(torn) == LF_ERR_FORKED);
    CHECK(lf_stream_reset(torn) == LF_OK && !torn->prepared);
    CHECK(lf_stream_reset(streams[0]) == LF_OK);
    fill(&v, &seed);
    CHECK(lf_stream_step(torn, v.inputs, v.outputs) == LF_OK);
    CHECK(lf_stream_step(streams[0], v.inputs, v.outputs) == LF_OK);
    CHECK(memcmp(torn->state, streams[0]->state, model->plan->state_bytes) == 0);
    CHECK(lf_stream_copy(streams[0], whole) == LF_OK);
    CHECK(lf_stream_prepare(whole) == LF_OK);
    CHECK(lf_stream_step(whole, v.inputs, v.outputs) == LF_OK);
    CHECK(lf_stream_step(streams[0], v.inputs, v.outputs) == LF_OK);
    CHECK(memcmp(whole->state, streams[0]->state, model->plan->state_bytes) == 0);
    free_values(&v);
}

static void use_in_child(void) {
    values v = make_values(model, 3);
    size_t bad = 99;
    fill(&v, &seed);
    CHECK(lf_pool_step(pool, handles, 3, v.inputs, v.outputs, &bad) == LF_ERR_FORKED && bad == 2);
    CHECK(slot_of(0)->prepared != LF_NONE && slot_of(1)->prepared == LF_NONE);
    CHECK(lf_pool_reset(pool, handles[2]) == LF_OK && lf_stream_reset(streams[2]) == LF_OK);
    CHECK(lf_pool_step(pool, handles, 3, v.inputs, v.outputs, NULL) == LF_OK);
    for (size_t s = 0; s < 3; s++)
        CHECK(is_as_alone(&v, s, s, 1, 1) && states_are_equal(s, streams[s]));
    free_values(&v);
    use_streams_in_child(streams[4], streams[5]);
}

/* Session 0 is whole and prepared, another thread was preparing session 1, and one was in a step of session 2. */
static void test_fork(void) {
    int status = 0;
    open_all(N, 2);
    values v = make_values(model, N);
    fill(&v, &seed);
    CHECK(lf_pool_step(pool, handles, N, v.inputs, v.outputs, NULL) == LF_OK);
    for (size_t s = 0; s < 3; s++)
        CHECK(is_as_alone(&v, s, s, 1, 1));
    CHECK(lf_pool_prepare(pool, handles, 3, NULL, NULL) == LF_OK);
    CHECK(lf_stream_prepare(streams[0]) == LF_OK);
    memset(lf_slot_kept(pool, slot_of(1)), 0xFF, model->plan->kept_bytes / 2);
    memset(lf_slot_state(pool, slot_of(2)), 0xFF, model->plan->state_bytes / 2);
    atomic_store(&slot_of(1)->key, LF_LOOKS | 1);
    atomic_store(&slot_of(2)->key, 2);
    CHECK(lf_stream_prepare(streams[4]) == LF_OK);
    memset(streams[4]->recurrent, 0xFF, model->plan->kept_bytes);
    memset(streams[5]->recurrent, 0xFF, model->plan->kept_bytes / 2);
    atomic_store(&streams[4]->inside, lf_mark_of(LF_TO_ADVANCE));
    atomic_store(&streams[5]->inside, lf_mark_of(LF_TO_LOOK));
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        alarm(SECONDS);
        check_failed = 0;
        use_in_child();
        fflush(stdout);
        _exit(check_failed != 0);
    }
    CHECK(child > 0 && waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    free_values(&v);
    close_all();
}

int main(int count, char **arguments) {
    CHECK(count == 3);
    for (int n = 1; !check_failed && n < 3; n++) {
        CHECK((model = read_model(arguments[n], NULL)) != NULL);
        if (!model)
            break;
        /* of the first a GRU and an LSTM; of the second one has its h in every other place of a state */
        CHECK(count_halves(0) == (n == 1 ? 2 : 5) && count_halves(1) == (n == 1 ? 0 : 2));
        if (!check_failed) {
            test_bits();
            test_planted();
            test_drops();
            test_fork();
            if (n == 1)
                test_failing_step();
        }
        lf_model_destroy(model);
    }
    return check_failures("prepared halves of models");
}
