/* Views against lists of where each element is: chains of movements, and the loops over what they make. */
#include <string.h>

#include "check.h"
#include "element_cases.h"
#include "program/view.h"

enum { TURNS = 400, MOVEMENTS = 6 };

/* A value: its view, and where each element is in C's order, in elements of the memory. */
typedef struct value {
    lf_view view;
    ptrdiff_t at[MOST_ELEMENTS];
} value;

static const lf_kind kinds[] = {LF_KIND_FLOAT32, LF_KIND_INT64, LF_KIND_BOOL};

/* index: [rank]; from the nth in C's order. */
static void index_of(const lf_shape *shape, size_t n, uint32_t *index) {
    for (uint32_t axis = shape->rank; axis-- > 0; n /= shape->sizes[axis])
        index[axis] = (uint32_t)(n % shape->sizes[axis]);
}

static size_t number_of(const lf_shape *shape, const uint32_t *index) {
    size_t n = 0;
    for (uint32_t axis = 0; axis < shape->rank; axis++)
        n = n * shape->sizes[axis] + index[axis];
    return n;
}

static ptrdiff_t strided(const lf_view *view, const uint32_t *index) {
    ptrdiff_t at = view->at.offset / (ptrdiff_t)lf_kind_bytes(view->kind);
    for (uint32_t axis = 0; axis < view->shape.rank; axis++)
        at += (ptrdiff_t)index[axis] * view->strides[axis];
    return at;
}

static int is_right(const value *v) {
    const size_t count = lf_shape_count(&v->view.shape);
    for (size_t n = 0; n < count; n++) {
        uint32_t index[LF_MAX_RANK];
        index_of(&v->view.shape, n, index);
        if (strided(&v->view, index) != v->at[n])
            return 0;
    }
    return 1;
}

static void random_order(uint32_t *state, uint32_t rank, uint32_t *order) {
    lf_c_order(rank, order);
    for (uint32_t n = rank; n > 1; n--) {
        const uint32_t pick = below(state, n), axis = order[pick];
        order[pick] = order[n - 1];
        order[n - 1] = axis;
    }
}

/* Dense in any order of axes, at any place. */
static void random_value(uint32_t *state, value *v) {
    lf_shape shape = {.rank = below(state, 4)};
    uint32_t order[LF_MAX_RANK];
    for (uint32_t axis = 0; axis < shape.rank; axis++)
        shape.sizes[axis] = 1 + below(state, 5);
    random_order(state, shape.rank, order);
    const lf_kind kind = kinds[below(state, 3)];
    const ptrdiff_t first = (ptrdiff_t)below(state, 9);
    const lf_place at = {.offset = first * (ptrdiff_t)lf_kind_bytes(kind)};
    v->view = lf_dense_view(at, kind, &shape, order);
    lf_shape in_memory = {.rank = shape.rank};
    for (uint32_t n = 0; n < shape.rank; n++)
        in_memory.sizes[n] = shape.sizes[order[n]];
    for (size_t n = 0; n < lf_shape_count(&shape); n++) {
        uint32_t index[LF_MAX_RANK], moved[LF_MAX_RANK];
        index_of(&shape, n, index);
        for (uint32_t i = 0; i < shape.rank; i++)
            moved[i] = index[order[i]];
        v->at[n] = first + (ptrdiff_t)number_of(&in_memory, moved);
    }
}

/* ---- movements ---- */

/* Where each element of a new shape was before: `from` says it, index by index. */
typedef void (*source_index)(const void *how, const uint32_t *index, uint32_t *from);

static void move(value *v, const lf_view *view, source_index source, const void *how) {
    static ptrdiff_t moved[MOST_ELEMENTS];
    const size_t count = lf_shape_count(&view->shape);
    for (size_t n = 0; n < count; n++) {
        uint32_t index[LF_MAX_RANK] = {0}, from[LF_MAX_RANK] = {0};
        index_of(&view->shape, n, index);
        source(how, index, from);
        moved[n] = v->at[number_of(&v->view.shape, from)];
    }
    memcpy(v->at, moved, count * sizeof *moved);
    v->view = *view;
}

typedef struct slicing {
    int32_t starts[LF_MAX_RANK], steps[LF_MAX_RANK];
} slicing;

static void before_slicing(const void *how, const uint32_t *index, uint32_t *from) {
    const slicing *const s = how;
    for (uint32_t axis = 0; axis < LF_MAX_RANK; axis++)
        from[axis] = (uint32_t)(s->starts[axis] + (int32_t)index[axis] * s->steps[axis]);
}

static void slice(uint32_t *state, value *v) {
    slicing s = {{0}, {0}};
    lf_shape shape = v->view.shape;
    for (uint32_t axis = 0; axis < shape.rank; axis++) {
        const int32_t size = (int32_t)shape.sizes[axis];
        s.starts[axis] = (int32_t)below(state, (uint32_t)size);
        const int32_t step = 1 + (int32_t)below(state, 3), is_back = below(state, 2) == 0;
        s.steps[axis] = is_back ? -step : step;
        const int32_t left = is_back ? s.starts[axis] : size - 1 - s.starts[axis];
        shape.sizes[axis] = 1 + below(state, (uint32_t)(left / step) + 1);
        if (shape.sizes[axis] == 1 && below(state, 2) == 0)
            s.steps[axis] = is_back ? INT32_MIN : INT32_MAX; /* which a file may have */
    }
    const lf_view view = lf_sliced(&v->view, s.starts, s.steps, &shape);
    for (uint32_t axis = 0; axis < shape.rank; axis++)
        s.steps[axis] = shape.sizes[axis] == 1 ? 0 : s.steps[axis];
    move(v, &view, before_slicing, &s);
}

static void before_transposition(const void *how, const uint32_t *index, uint32_t *from) {
    const int32_t *const order = how;
    for (uint32_t axis = 0; axis < LF_MAX_RANK && order[axis] >= 0; axis++)
        from[order[axis]] = index[axis];
}

static void transpose(uint32_t *state, value *v) {
    uint32_t order[LF_MAX_RANK];
    int32_t with_end[LF_MAX_RANK + 1];
    random_order(state, v->view.shape.rank, order);
    for (uint32_t axis = 0; axis < v->view.shape.rank; axis++)
        with_end[axis] = (int32_t)order[axis];
    with_end[v->view.shape.rank] = -1;
    const lf_view view = lf_transposed(&v->view, with_end);
    move(v, &view, before_transposition, with_end);
}

typedef struct spreading {
    lf_shape before, after;
} spreading;

static void before_broadcast(const void *how, const uint32_t *index, uint32_t *from) {
    const spreading *const s = how;
    const uint32_t more = s->after.rank - s->before.rank;
    for (uint32_t axis = 0; axis < s->before.rank; axis++)
        from[axis] = s->before.sizes[axis] == 1 ? 0 : index[more + axis];
}

static void broadcast(uint32_t *state, value *v) {
    spreading s = {.before = v->view.shape};
    const uint32_t more = v->view.shape.rank < 5 ? below(state, 2) : 0;
    s.after.rank = s.before.rank + more;
    for (uint32_t axis = 0; axis < s.after.rank; axis++) {
        const uint32_t size = axis < more ? 1 : s.before.sizes[axis - more];
        s.after.sizes[axis] = size == 1 ? 1 + below(state, 3) : size;
    }
    if (lf_shape_count(&s.after) > MOST_ELEMENTS / 4)
        return;
    const lf_view view = lf_broadcast(&v->view, &s.after);
    move(v, &view, before_broadcast, &s);
}

/* The elements of a shape in other factors, some of them 1. */
static lf_shape random_factors(uint32_t *state, size_t count) {
    lf_shape shape = {.rank = 0};
    while (shape.rank < 5 && (count > 1 || below(state, 3) == 0)) {
        uint32_t size = 1 + below(state, 6);
        while (count % size)
            size--;
        shape.sizes[shape.rank++] = size;
        count /= size;
    }
    if (count > 1)
        shape.sizes[shape.rank++] = (uint32_t)count;
    return shape;
}

/* Whether any strides would do for these elements in this shape. */
static int could_be_strided(const value *v, const lf_shape *shape) {
    value any = {.view = {.kind = LF_KIND_BOOL, .shape = *shape}};
    any.view.at.offset = v->at[0];
    for (uint32_t axis = 0; axis < shape->rank; axis++) {
        uint32_t index[LF_MAX_RANK] = {0};
        index[axis] = 1;
        if (shape->sizes[axis] > 1)
            any.view.strides[axis] = (int32_t)(v->at[number_of(shape, index)] - v->at[0]);
    }
    memcpy(any.at, v->at, lf_shape_count(shape) * sizeof *any.at);
    return is_right(&any);
}

static int refused; /* reshapes that need a copy */

static void reshape(uint32_t *state, value *v) {
    const lf_shape shape = random_factors(state, lf_shape_count(&v->view.shape));
    lf_view view = v->view;
    const int is_possible = lf_reshape(&v->view, &shape, &view);
    CHECK(is_possible == could_be_strided(v, &shape));
    CHECK(is_possible || !lf_is_dense(&v->view));
    refused += !is_possible;
    if (is_possible)
        v->view = view; /* and the elements stay in their order */
}

static void move_some(uint32_t *state, value *v) {
    void (*const movements[])(uint32_t *, value *) = {slice, transpose, broadcast, reshape};
    for (uint32_t n = below(state, MOVEMENTS); n > 0; n--)
        movements[below(state, 4)](state, v);
}

static void check_movements(void) {
    static value v;
    uint32_t state = 1;
    int noticed = 0;
    for (int turn = 0; turn < TURNS; turn++) {
        random_value(&state, &v);
        CHECK(is_right(&v));
        move_some(&state, &v);
        CHECK(is_right(&v));
        const size_t count = lf_shape_count(&v.view.shape);
        int is_dense = 1;
        for (size_t n = 0; n < count; n++)
            is_dense &= v.at[n] == v.at[0] + (ptrdiff_t)n;
        CHECK(lf_is_dense(&v.view) == is_dense);
        /* the control */
        for (uint32_t axis = 0; axis < v.view.shape.rank; axis++)
            if (v.view.shape.sizes[axis] > 1) {
                v.view.strides[axis]++;
                CHECK(!is_right(&v));
                noticed++;
                break;
            }
    }
    CHECK(noticed > TURNS / 4 && refused > TURNS / 20);
}

/* ---- loops ---- */

/* Whether the loops come once to each element of v, and to those of the other views along with it. */
static int cover_each_once(const lf_loops *loops, const value *views, uint32_t count) {
    static ptrdiff_t at[LF_MAX_OPERANDS][MOST_ELEMENTS];
    static char is_done[MOST_ELEMENTS];
    const size_t elements = lf_shape_count(&views->view.shape);
    for (uint32_t n = 0; n < count; n++)
        if (list_elements(loops, n, at[n]) != elements)
            return 0;
    memset(is_done, 0, sizeof is_done);
    for (size_t i = 0; i < elements; i++) {
        size_t which = 0;
        while (which < elements && views[0].at[which] != views[0].at[0] + at[0][i])
            which++;
        if (which == elements || is_done[which]++)
            return 0;
        for (uint32_t n = 1; n < count; n++)
            if (views[n].at[which] != views[n].at[0] + at[n][i])
                return 0;
    }
    return 1;
}

/* No size of 1 beside others, and no two axes that lie together in all operands. */
static int are_fewest(const lf_loops *loops, uint32_t count) {
    for (uint32_t axis = 0; axis < loops->rank; axis++) {
        if (loops->sizes[axis] == 1 && loops->rank > 1)
            return 0;
        int together = axis > 0;
        for (uint32_t n = 0; together && n < count; n++)
            together = loops->strides[n][axis - 1] ==
                       loops->strides[n][axis] * (int32_t)loops->sizes[axis];
        if (together)
            return 0;
    }
    return 1;
}

/* Views of one shape: a value and what movements make of it, until they fit that of the first. */
static uint32_t random_views(uint32_t *state, value *views) {
    const uint32_t count = 1 + below(state, 3);
    random_value(state, &views[0]);
    for (uint32_t n = 1; n < count; n++) {
        spreading s = {.before = views[0].view.shape, .after = views[0].view.shape};
        uint32_t order[LF_MAX_RANK];
        for (uint32_t axis = 0; axis < s.before.rank; axis++)
            if (below(state, 3) == 0)
                s.before.sizes[axis] = 1;
        random_order(state, s.before.rank, order);
        const lf_place nowhere = {.offset = 0};
        views[n].view = lf_dense_view(nowhere, LF_KIND_FLOAT32, &s.before, order);
        for (size_t i = 0; i < lf_shape_count(&s.before); i++) {
            uint32_t index[LF_MAX_RANK];
            index_of(&s.before, i, index);
            views[n].at[i] = strided(&views[n].view, index);
        }
        const lf_view view = lf_broadcast(&views[n].view, &s.after);
        move(&views[n], &view, before_broadcast, &s);
    }
    /* all of them backwards, or every other element */
    for (uint32_t n = 0; n < count; n++) {
        slicing s = {{0}, {0}};
        const int is_back = below(state, 2) == 0;
        for (uint32_t axis = 0; axis < views[n].view.shape.rank; axis++) {
            s.steps[axis] = is_back ? -1 : 1;
            s.starts[axis] = is_back ? (int32_t)views[n].view.shape.sizes[axis] - 1 : 0;
        }
        const lf_view view = lf_sliced(&views[n].view, s.starts, s.steps, &views[n].view.shape);
        for (uint32_t axis = 0; axis < views[n].view.shape.rank; axis++)
            s.steps[axis] = views[n].view.shape.sizes[axis] == 1 ? 0 : s.steps[axis];
        move(&views[n], &view, before_slicing, &s);
    }
    return count;
}

static void check_loops(void) {
    static value views[3];
    uint32_t state = 2;
    int noticed = 0;
    for (int turn = 0; turn < TURNS; turn++) {
        const uint32_t count = random_views(&state, views);
        const lf_view *const each[3] = {&views[0].view, &views[1].view, &views[2].view};
        lf_loops loops = lf_loops_over(each, count);
        CHECK(cover_each_once(&loops, views, count));
        CHECK(are_fewest(&loops, count));
        const lf_loops in_order = lf_loops_in_order(each, count);
        CHECK(cover_each_once(&in_order, views, count));
        for (uint32_t n = 0; n < count; n++) {
            static ptrdiff_t at[MOST_ELEMENTS];
            const size_t elements = list_elements(&in_order, n, at);
            for (size_t i = 0; i < elements; i++)
                CHECK(views[n].at[0] + at[i] == views[n].at[i]);
        }
        if (loops.sizes[loops.rank - 1] > 1) { /* the control */
            loops.strides[below(&state, count)][loops.rank - 1] += 1;
            noticed += !cover_each_once(&loops, views, count);
        } else {
            noticed++;
        }
    }
    CHECK(noticed == TURNS);
}

int main(void) {
    check_movements();
    check_loops();
    return check_failures("views");
}
