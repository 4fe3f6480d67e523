#include "view.h"

#include <string.h>

size_t lf_shape_count(const lf_shape *shape) {
    size_t count = 1;
    for (uint32_t axis = 0; axis < shape->rank; axis++)
        count *= shape->sizes[axis];
    return count;
}

void lf_c_order(uint32_t rank, uint32_t order[LF_MAX_RANK]) {
    for (uint32_t axis = 0; axis < rank; axis++)
        order[axis] = axis;
}

static uint32_t magnitude(int32_t stride) {
    return stride < 0 ? 0u - (uint32_t)stride : (uint32_t)stride;
}

/* By insertion, which leaves axes of one stride in their order. */
void lf_order_of(const lf_view *view, uint32_t order[LF_MAX_RANK]) {
    for (uint32_t axis = 0; axis < view->shape.rank; axis++) {
        uint32_t at = axis;
        while (at > 0 && magnitude(view->strides[order[at - 1]]) < magnitude(view->strides[axis])) {
            order[at] = order[at - 1];
            at--;
        }
        order[at] = axis;
    }
}

lf_view lf_dense_view(lf_place at, lf_kind kind, const lf_shape *shape, const uint32_t *order) {
    lf_view view = {.at = at, .kind = kind, .shape = *shape};
    int32_t stride = 1;
    for (uint32_t n = shape->rank; n-- > 0;) {
        view.strides[order[n]] = stride;
        stride *= (int32_t)shape->sizes[order[n]];
    }
    return view;
}

int lf_is_dense(const lf_view *view) {
    int32_t stride = 1;
    for (uint32_t axis = view->shape.rank; axis-- > 0;) {
        if (view->shape.sizes[axis] != 1 && view->strides[axis] != stride)
            return 0;
        stride *= (int32_t)view->shape.sizes[axis];
    }
    return 1;
}

lf_view lf_sliced(const lf_view *view, const int32_t *starts, const int32_t *steps,
                  const lf_shape *shape) {
    lf_view result = *view;
    result.shape = *shape;
    for (uint32_t axis = 0; axis < shape->rank; axis++) {
        result.at.offset +=
            (ptrdiff_t)starts[axis] * view->strides[axis] * (ptrdiff_t)lf_kind_bytes(view->kind);
        /* of a single element the step means nothing, and may be too large for a product */
        result.strides[axis] = shape->sizes[axis] == 1 ? 0 : steps[axis] * view->strides[axis];
    }
    return result;
}

lf_view lf_transposed(const lf_view *view, const int32_t *order) {
    lf_view result = *view;
    for (uint32_t axis = 0; axis < view->shape.rank; axis++) {
        result.shape.sizes[axis] = view->shape.sizes[order[axis]];
        result.strides[axis] = view->strides[order[axis]];
    }
    return result;
}

lf_view lf_broadcast(const lf_view *view, const lf_shape *shape) {
    lf_view result = {.at = view->at, .kind = view->kind, .shape = *shape};
    const uint32_t more = shape->rank - view->shape.rank;
    for (uint32_t axis = 0; axis < view->shape.rank; axis++)
        if (view->shape.sizes[axis] != 1)
            result.strides[more + axis] = view->strides[axis];
    return result;
}

/* Whether axis `next` follows on `axis` in memory, so that the two are one. */
static int lie_together(int32_t stride, uint32_t next_size, int32_t next_stride) {
    return (int64_t)stride == (int64_t)next_stride * next_size;
}

/*
 * Old and new axes are matched from the front, in the smallest groups of as many elements. The old axes of a group must
 * lie together; the new ones then divide what they span.
 */
int lf_reshape(const lf_view *view, const lf_shape *shape, lf_view *result) {
    uint32_t sizes[LF_MAX_RANK], rank = 0;
    int32_t strides[LF_MAX_RANK];
    for (uint32_t axis = 0; axis < view->shape.rank; axis++)
        if (view->shape.sizes[axis] != 1) {
            sizes[rank] = view->shape.sizes[axis];
            strides[rank++] = view->strides[axis];
        }
    lf_view made = {.at = view->at, .kind = view->kind, .shape = *shape};
    uint32_t old = 0, new = 0;
    while (old < rank) {
        uint32_t old_end = old + 1, new_end = new;
        size_t old_count = sizes[old], new_count = 1;
        while (new_count != old_count) {
            if (new_count < old_count) {
                new_count *= shape->sizes[new_end++];
            } else {
                if (!lie_together(strides[old_end - 1], sizes[old_end], strides[old_end]))
                    return 0;
                old_count *= sizes[old_end++];
            }
        }
        int32_t stride = strides[old_end - 1];
        for (uint32_t axis = new_end; axis-- > new;) {
            made.strides[axis] = stride;
            stride *= (int32_t)shape->sizes[axis];
        }
        old = old_end;
        new = new_end;
    }
    *result = made;
    return 1;
}

static lf_loops loops_by(const uint32_t *order, const lf_view *const *views, uint32_t count) {
    lf_loops loops = {0};
    for (uint32_t n = 0; n < views[0]->shape.rank; n++) {
        const uint32_t axis = order[n], size = views[0]->shape.sizes[axis];
        if (size == 1)
            continue;
        uint32_t last = loops.rank ? loops.rank - 1 : 0;
        int together = loops.rank > 0;
        for (uint32_t v = 0; together && v < count; v++)
            together = lie_together(loops.strides[v][last], size, views[v]->strides[axis]);
        if (together) {
            loops.sizes[last] *= size;
        } else {
            last = loops.rank++;
            loops.sizes[last] = size;
        }
        for (uint32_t v = 0; v < count; v++)
            loops.strides[v][last] = views[v]->strides[axis];
    }
    if (!loops.rank) {
        loops.rank = 1;
        loops.sizes[0] = 1;
        for (uint32_t v = 0; v < count; v++)
            loops.strides[v][0] = v ? 0 : 1;
    }
    return loops;
}

lf_loops lf_loops_over(const lf_view *const *views, uint32_t count) {
    uint32_t order[LF_MAX_RANK];
    lf_order_of(views[0], order);
    return loops_by(order, views, count);
}

lf_loops lf_loops_in_order(const lf_view *const *views, uint32_t count) {
    uint32_t order[LF_MAX_RANK];
    lf_c_order(views[0]->shape.rank, order);
    return loops_by(order, views, count);
}
