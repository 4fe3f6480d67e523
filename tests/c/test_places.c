/* Lists of free places: in their order, and while many threads take and give back. */
#include <pthread.h>

#include "check.h"
#include "pool/pool.h"

enum { PLACES = 7, THREADS = 4, TURNS = 50000 };

/* Apart, as in slots. */
static struct {
    uint32_t before;
    lf_link next;
} rooms[PLACES];
static const lf_links links = {(char *)&rooms->next, sizeof *rooms};
static _Atomic uint64_t list;
static _Atomic int owners[PLACES];

static uint32_t take(void) { return lf_take_place(&list, links); }

static void test_order(void) {
    lf_empty_list(&list);
    CHECK(take() == LF_NONE);
    lf_give_places(&list, links, 3, 3);
    CHECK(take() == LF_NONE);
    lf_give_places(&list, links, 4, PLACES);
    lf_give_places(&list, links, 0, 4);
    for (uint32_t n = 0; n < PLACES; n++)
        CHECK(take() == n);
    CHECK(take() == LF_NONE);
    lf_give_place(&list, links, 2);
    lf_give_place(&list, links, 5);
    CHECK(take() == 5 && take() == 2 && take() == LF_NONE);
}

/* A thread that was stopped after it had looked must not take what it saw: another place is behind it by now. */
static void test_that_a_change_shows(void) {
    lf_empty_list(&list);
    lf_give_places(&list, links, 0, 3);
    const uint64_t seen = atomic_load(&list);
    CHECK(take() == 0 && take() == 1);
    lf_give_place(&list, links, 0);
    CHECK((uint32_t)atomic_load(&list) == (uint32_t)seen);
    CHECK(atomic_load(&list) != seen);
}

static void *take_and_give(void *argument) {
    int *const wrong = argument;
    for (int turn = 0; turn < TURNS; turn++) {
        uint32_t mine[2];
        for (int n = 0; n < 2; n++) {
            mine[n] = take();
            if (mine[n] != LF_NONE && atomic_exchange(&owners[mine[n]], 1))
                *wrong = 1;
        }
        for (int n = 0; n < 2; n++)
            if (mine[n] != LF_NONE) {
                if (!atomic_exchange(&owners[mine[n]], 0))
                    *wrong = 1;
                lf_give_place(&list, links, mine[n]);
            }
    }
    return NULL;
}

static void test_threads(void) {
    pthread_t threads[THREADS];
    int wrong[THREADS] = {0}, found[PLACES] = {0};
    lf_empty_list(&list);
    lf_give_places(&list, links, 0, PLACES);
    for (int n = 0; n < THREADS; n++)
        CHECK(pthread_create(&threads[n], NULL, take_and_give, &wrong[n]) == 0);
    for (int n = 0; n < THREADS; n++)
        CHECK(pthread_join(threads[n], NULL) == 0 && !wrong[n]);
    for (int n = 0; n < PLACES; n++) {
        const uint32_t place = take();
        CHECK(place < PLACES && !found[place % PLACES]++);
    }
    CHECK(take() == LF_NONE);
}

int main(void) {
    test_order();
    test_that_a_change_shows();
    test_threads();
    return check_failures("places");
}
