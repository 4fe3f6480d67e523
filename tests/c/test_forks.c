/*
 * Forks at known places: a stream and a pool are left as a thread in the middle of a call leaves them, and the
 * child goes on with them. Nothing here may wait for ever: a child that does is killed by its alarm.
 */
#include <stdlib.h>

#include "forked.h"

/* ---- one stream ---- */

static lf_stream *stream;

static int steps_of_stream(void) {
    float h[H], c[H];
    CHECK(lf_stream_get_state_f32(stream, h, c) == LF_OK);
    return steps_of(c);
}

static void use_a_whole_stream(int steps) {
    float y[H];
    CHECK(lf_stream_prepare(stream) == LF_OK);
    CHECK(lf_stream_step_f32(stream, ones, y) == LF_OK);
    CHECK(steps_of_stream() == steps + 1);
}

static void use_half_a_stream(int argument) {
    float y[H], h[H], c[H];
    lf_stream *other = NULL;
    CHECK(lf_stream_create(model, &other) == LF_OK);
    for (int n = 0; n < 2; n++) { /* each time, and not only once */
        CHECK(lf_stream_step_f32(stream, ones, y) == LF_ERR_FORKED);
        CHECK(lf_stream_prepare(stream) == LF_ERR_FORKED);
        CHECK(lf_stream_get_state_f32(stream, h, c) == LF_ERR_FORKED);
        CHECK(lf_stream_copy(other, stream) == LF_ERR_FORKED);
    }
    if (argument == 0)
        CHECK(lf_stream_reset(stream) == LF_OK);
    else if (argument == 1)
        CHECK(lf_stream_copy(stream, other) == LF_OK);
    else
        CHECK(lf_stream_get_state_f32(other, h, c) == LF_OK &&
              lf_stream_set_state_f32(stream, h, c) == LF_OK);
    CHECK(stream->h != stream->h_next);
    use_a_whole_stream(0);
    CHECK(in_child(use_a_whole_stream, 1)); /* and in a child of this one */
}

static void busy_in_this_process(int argument) {
    float y[H];
    (void)argument;
    atomic_store(&stream->inside, 2 * lf_process());
    CHECK(lf_stream_step_f32(stream, ones, y) == LF_ERR_BUSY);
    CHECK(lf_stream_reset(stream) == LF_ERR_BUSY);
}

static void test_stream(void) {
    float y[H];
    CHECK(lf_stream_create(model, &stream) == LF_OK);
    CHECK(lf_stream_step_f32(stream, ones, y) == LF_OK);
    CHECK(in_child(use_a_whole_stream, 1));
    CHECK(in_child(busy_in_this_process, 0)); /* negative control: a thread that is there */
    atomic_store(&stream->inside, 2 * lf_process() + 1); /* reading, or preparing */
    CHECK(in_child(use_a_whole_stream, 1));
    atomic_store(&stream->inside, 2 * lf_process()); /* in a step */
    float *const h = stream->h;
    for (int how = 0; how < 3; how++) {
        CHECK(in_child(use_half_a_stream, how));
        stream->h = stream->h_next; /* in the middle of the swap */
    }
    stream->h = h;
    atomic_store(&stream->inside, 0);
    use_a_whole_stream(1); /* the parent has noticed nothing */
    lf_stream_destroy(stream);
}

/* ---- a pool ---- */

static lf_slot *slot_of(int n) { return &pool->room.slots[handles[n] & 0xFFFFFF]; }

/* All of it works, and has room for as many as it should: nothing is lost. */
static void use_whole_sessions(int steps) {
    unsigned long long more[2 * ROOM + 1];
    float ys[N * H];
    size_t ready = 0;
    CHECK(lf_pool_open_count(pool) == N);
    CHECK(lf_pool_step_f32(pool, handles, N, ones, ys, NULL) == LF_OK);
    for (int n = 0; n < N; n++)
        CHECK(steps_of_session(handles[n]) == steps + 1);
    CHECK(lf_pool_prepare(pool, handles, N, &ready, NULL) == LF_OK && ready == KEPT);
    for (int n = 0; n < room; n++)
        CHECK(lf_pool_open(pool, &more[n]) == LF_OK && steps_of_session(more[n]) == 0);
    CHECK(lf_pool_open(pool, &more[room]) == LF_ERR_FULL);
    CHECK(lf_pool_grow(pool, 1) == LF_OK && lf_pool_open(pool, &more[room]) == LF_OK);
    room++;
    for (int n = 0; n < room; n++)
        CHECK(lf_pool_close(pool, more[n]) == LF_OK);
    CHECK(lf_pool_open_count(pool) == N && lf_pool_capacity(pool) == N + (size_t)room);
}

static void begin_again(int n) {
    float h[H] = {0}, c[H] = {0};
    if (n == 1) {
        CHECK(lf_pool_reset(pool, handles[n]) == LF_OK);
    } else if (n == 2) {
        CHECK(lf_pool_set_state_f32(pool, handles[n], h, c) == LF_OK);
    } else {
        CHECK(lf_pool_close(pool, handles[n]) == LF_OK);
        CHECK(lf_pool_open(pool, &handles[n]) == LF_OK);
    }
    CHECK(steps_of_session(handles[n]) == 0);
}

/* Sessions 1 to 3 were in a step: they say so, each time, and the others go on. */
static void use_half_sessions(int argument) {
    float ys[N * H], h[H], c[H];
    size_t bad = 99;
    unsigned long long all[N + ROOM], whole[2] = {handles[0], handles[4]};
    (void)argument;
    CHECK(lf_pool_step_f32(pool, handles, N, ones, ys, &bad) == LF_ERR_FORKED && bad == 1);
    CHECK(lf_pool_prepare(pool, handles + 2, 1, NULL, &bad) == LF_ERR_FORKED && bad == 0);
    CHECK(lf_pool_get_state_f32(pool, handles[3], h, c) == LF_ERR_FORKED);
    CHECK(lf_pool_is_open(pool, handles[3]) && lf_pool_handles(pool, all, N + ROOM) == N);
    CHECK(lf_pool_step_f32(pool, whole, 2, ones, ys, NULL) == LF_OK);
    CHECK(steps_of_session(whole[0]) == 2 && steps_of_session(whole[1]) == 2);
    for (int n = 1; n <= 3; n++)
        begin_again(n);
    CHECK(lf_pool_reset(pool, whole[0]) == LF_OK && lf_pool_reset(pool, whole[1]) == LF_OK);
    use_whole_sessions(0);
    CHECK(in_child(use_whole_sessions, 1)); /* and in a child of this one */
}

static void in_use_by(int n, uint32_t owner) { atomic_store(&slot_of(n)->key, owner); }

static void test_pool_in_calls(void) {
    make_pool();
    CHECK(in_child(use_whole_sessions, 1));
    for (int n = 1; n <= 3; n++) /* a step, a run; reset, set_state or close */
        in_use_by(n, n < 3 ? 1 : LF_ALONE);
    atomic_flag_test_and_set(&pool->work[0].taken);
    atomic_flag_test_and_set(&pool->work[1].taken);
    atomic_store(&pool->free_slots, 1); /* a slot that is in use: the lists may be anything */
    lf_empty_list(&pool->free_prepared);
    atomic_store(&pool->open_count, 77);
    atomic_store(&pool->users, INT64_C(2) << 32 | 3); /* three calls, and two more that wait */
    CHECK(in_child(use_half_sessions, 0));
    CHECK(atomic_load(&pool->users) == (INT64_C(2) << 32 | 3)); /* the parent is where it was */
    for (int n = 1; n <= 3; n++)                                /* prepare, and reading */
        in_use_by(n, LF_LOOKS | (n < 3 ? 1 : LF_ALONE));
    CHECK(in_child(use_whole_sessions, 1));
    lf_pool_destroy(pool);
}

/* Neither has a handle afterwards, nor anything in memory, and their rooms are free. */
static void use_pool_without_them(int slots) {
    CHECK(lf_pool_open_count(pool) == N);
    for (int n = N; n < N + slots; n++) {
        const float *state = pool->room.states + lf_state_at(pool, (size_t)n);
        for (size_t k = 0; k < pool->slot_floats; k++)
            CHECK(state[k] == 0);
    }
    use_whole_sessions(1);
}

/* The handle is there before the session can be used, and goes after it no longer can. */
static void test_pool_with_half_open_sessions(void) {
    unsigned long long opened[2];
    make_pool();
    for (int n = 0; n < 2; n++)
        CHECK(lf_pool_open(pool, &opened[n]) == LF_OK);
    CHECK((opened[0] & 0xFFFFFF) == N && (opened[1] & 0xFFFFFF) == N + 1);
    atomic_store(&pool->room.slots[N].key, 0);
    atomic_store(&pool->room.slots[N + 1].key, LF_ALONE | LF_ENDS);
    pool->room.states[lf_state_at(pool, N)] = pool->room.states[lf_state_at(pool, N + 1)] = 3;
    CHECK(in_child(use_pool_without_them, 2));
    lf_pool_destroy(pool);
}

/* A session that is being opened or closed has no handle, or no key, or is on no list. */
static void test_pool_between_open_and_closed(void) {
    unsigned long long closing;
    float ys[KEPT * H];
    make_pool();
    CHECK(lf_pool_open(pool, &closing) == LF_OK);
    lf_slot *slot = &pool->room.slots[closing & 0xFFFFFF];
    atomic_store(&slot->handle, 0);
    atomic_store(&slot->key, LF_ALONE);
    (void)lf_take_place(&pool->free_slots, lf_slot_links(pool));
    atomic_fetch_add(&pool->open_count, 1);
    CHECK(lf_pool_step_f32(pool, handles, KEPT, ones, ys, NULL) == LF_OK);
    (void)lf_take_place(&pool->free_prepared, lf_kept_links(pool));
    for (int n = KEPT; n < N; n++)
        CHECK(lf_pool_step_f32(pool, &handles[n], 1, ones, ys, NULL) == LF_OK);
    CHECK(in_child(use_whole_sessions, 2));
    lf_pool_destroy(pool);
}

static void test_pool_that_grows(void) {
    make_pool();
    const lf_pool_room old = pool->room;
    const size_t more = 3, capacity = old.capacity + more;
    const size_t state_bytes = lf_state_at(pool, old.capacity) * sizeof(float);
    lf_pool_room bigger = {.capacity = capacity,
                           .slots = lf_alloc_zeroed(capacity * sizeof *old.slots),
                           .states = lf_alloc_zeroed(lf_state_at(pool, capacity) * sizeof(float))};
    memcpy(bigger.slots, old.slots, old.capacity * sizeof *old.slots);
    memcpy(bigger.states, old.states, state_bytes);
    for (size_t n = old.capacity; n < capacity; n++)
        bigger.slots[n].prepared = LF_NONE;

    CHECK(lf_pool_enter_alone(pool));
    CHECK(in_child(use_whole_sessions, 1)); /* not moved yet */
    pool->next_room = bigger;
    CHECK(in_child(use_whole_sessions, 1));
    atomic_store(&pool->is_moving, 1);
    pool->room.slots = bigger.slots; /* in the middle */
    room += (int)more;
    CHECK(in_child(use_whole_sessions, 1));
    pool->room = bigger;
    CHECK(in_child(use_whole_sessions, 1));
    atomic_store(&pool->is_moving, 0);
    CHECK(in_child(use_whole_sessions, 1));
    room = ROOM;
    pool->room = old;
    lf_pool_leave_alone(pool);
    lf_free(bigger.slots);
    lf_free(bigger.states);
    use_whole_sessions(1);
    lf_pool_destroy(pool);
}

/* A fork may come while another thread of a child puts the pool in order. */
static void forked_while_mending(int argument) {
    (void)argument;
    atomic_store(&pool->mending, lf_process());
    in_use_by(3, LF_TORN); /* half of it is done */
    lf_empty_list(&pool->free_slots);
    CHECK(in_child(use_half_sessions, 0));
}

static void test_mending_that_is_forked(void) {
    make_pool();
    for (int n = 1; n <= 3; n++)
        in_use_by(n, 1);
    CHECK(in_child(forked_while_mending, 0));
    lf_pool_destroy(pool);
}

/* Negative control: where the child does not know that it is one, all is busy for ever. */
static void never_told(int argument) {
    float y[H];
    atomic_store(&lf_process_number, (uint32_t)argument);
    CHECK(lf_pool_step_f32(pool, &handles[1], 1, ones, y, NULL) == LF_ERR_BUSY);
    CHECK(lf_stream_step_f32(stream, ones, y) == LF_ERR_BUSY);
    CHECK(lf_pool_grow(pool, 1) == LF_ERR_BUSY);
}

static void test_a_child_must_know(void) {
    make_pool();
    CHECK(lf_stream_create(model, &stream) == LF_OK);
    atomic_store(&stream->inside, 2 * lf_process());
    in_use_by(1, 2);
    atomic_store(&pool->users, 1);
    CHECK(in_child(never_told, (int)lf_process()));
    lf_stream_destroy(stream);
    lf_pool_destroy(pool);
}

int main(void) {
    CHECK(counting_lstm(NULL, &model) == LF_OK);
    test_stream();
    test_pool_in_calls();
    test_pool_with_half_open_sessions();
    test_pool_between_open_and_closed();
    test_pool_that_grows();
    test_mending_that_is_forked();
    test_a_child_must_know();
    lf_model_destroy(model);
    return check_failures("forks");
}
