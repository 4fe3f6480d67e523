/* Buffers in scratch: what is alive at the same time shares nothing, and what is not does. */
#include "check.h"
#include "program/planner.h"
#include "element_cases.h"
#include "tuning.h"

enum { TURNS = 400, MOST_STEPS = 40, MOST_BUFFERS = 60 };

static int any_overlap(const lf_buffer *buffers, size_t count) {
    for (size_t a = 0; a < count; a++)
        for (size_t b = 0; b < a; b++)
            if (buffers[a].first <= buffers[b].last && buffers[b].first <= buffers[a].last &&
                buffers[a].offset < buffers[b].offset + buffers[b].bytes &&
                buffers[b].offset < buffers[a].offset + buffers[a].bytes)
                return 1;
    return 0;
}

/* The most that is alive at once, which no placement can do with less than. */
static size_t most_alive(const lf_buffer *buffers, size_t count) {
    size_t most = 0;
    for (size_t step = 0; step <= MOST_STEPS + 1; step++) {
        size_t alive = 0;
        for (size_t n = 0; n < count; n++)
            if (buffers[n].first <= step && step <= buffers[n].last)
                alive += buffers[n].bytes;
        most = alive > most ? alive : most;
    }
    return most;
}

static void check_random_buffers(void) {
    lf_buffer buffers[MOST_BUFFERS];
    lf_plan plan = {.instruction_count = MOST_STEPS};
    lf_planner planner = {.plan = &plan, .buffers = buffers};
    uint32_t state = 3;
    size_t reused = 0, noticed = 0;
    for (int turn = 0; turn < TURNS; turn++) {
        size_t first = 0, all = 0;
        planner.buffer_count = 2 + below(&state, MOST_BUFFERS - 1);
        for (size_t n = 0; n < planner.buffer_count; n++) {
            first += below(&state, 2) && first < MOST_STEPS;
            const uint32_t longest = below(&state, 2) ? 3 : MOST_STEPS;
            const size_t last = first + below(&state, longest);
            buffers[n] = (lf_buffer){.bytes = (1 + below(&state, 9)) * (size_t)LF_ALIGNMENT,
                                     .first = first,
                                     .last = last > MOST_STEPS ? MOST_STEPS + 1 : last};
            all += buffers[n].bytes;
        }
        lf_place_buffers(&planner);
        CHECK(planner.status == LF_OK);
        CHECK(!any_overlap(buffers, planner.buffer_count));
        size_t end = 0;
        for (size_t n = 0; n < planner.buffer_count; n++) {
            CHECK(buffers[n].offset % LF_ALIGNMENT == 0);
            if (buffers[n].offset + buffers[n].bytes > end)
                end = buffers[n].offset + buffers[n].bytes;
        }
        CHECK(plan.scratch_bytes == end);
        CHECK(end >= most_alive(buffers, planner.buffer_count));
        reused += end < all;
        for (size_t n = 1; n < planner.buffer_count;
             n++) /* the control: one is moved onto another */
            if (buffers[n].first <= buffers[n - 1].last) {
                buffers[n].offset = buffers[n - 1].offset;
                noticed++;
                CHECK(any_overlap(buffers, planner.buffer_count));
                break;
            }
    }
    CHECK(reused > TURNS / 2 && noticed > TURNS / 2);
}

/* Of a chain, in which each instruction reads what the one before made, two are alive at a time. */
static void check_a_chain(void) {
    lf_buffer buffers[MOST_STEPS];
    lf_plan plan = {.instruction_count = MOST_STEPS};
    lf_planner planner = {.plan = &plan, .buffers = buffers, .buffer_count = MOST_STEPS};
    for (size_t n = 0; n < MOST_STEPS; n++)
        buffers[n] = (lf_buffer){.bytes = 5 * LF_ALIGNMENT, .first = n, .last = n + 1};
    lf_place_buffers(&planner);
    CHECK(planner.status == LF_OK && !any_overlap(buffers, MOST_STEPS));
    CHECK(plan.scratch_bytes == (size_t)10 * LF_ALIGNMENT);
}

int main(void) {
    check_random_buffers();
    check_a_chain();
    return check_failures("buffers");
}
