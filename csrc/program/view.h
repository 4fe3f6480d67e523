/* Where a value of a step lies, when it is known what its sizes and strides are: any view of some memory. */
#ifndef LF_VIEW_H
#define LF_VIEW_H

#include "loops.h"

/* The scratch of a session, which means nothing between two steps; what it keeps; what the model has. */
typedef enum lf_room { LF_IN_SCRATCH, LF_IN_STATE, LF_IN_MODEL, LF_ROOMS } lf_room;

/* In LF_IN_SCRATCH `buffer` says which one, and `offset` counts from there; elsewhere from the beginning of the room. */
typedef struct lf_place {
    lf_room room;
    uint32_t buffer;
    ptrdiff_t offset; /* in bytes */
} lf_place;

typedef struct lf_view {
    lf_place at;
    lf_kind kind;
    lf_shape shape;
    int32_t strides[LF_MAX_RANK]; /* in elements */
} lf_view;

size_t lf_shape_count(const lf_shape *shape);

/* order: the axes from the slowest to the quickest in memory. */
void lf_c_order(uint32_t rank, uint32_t order[LF_MAX_RANK]);
void lf_order_of(const lf_view *view, uint32_t order[LF_MAX_RANK]);
/* Dense strides in that order, at a place. */
lf_view lf_dense_view(lf_place at, lf_kind kind, const lf_shape *shape, const uint32_t *order);

/* Whether its elements lie side by side in the order of its axes. */
int lf_is_dense(const lf_view *view);

/* These are the movements that move nothing. The last one says whether that can be. */
lf_view lf_sliced(const lf_view *view, const int32_t *starts, const int32_t *steps,
                  const lf_shape *shape);
lf_view lf_transposed(const lf_view *view, const int32_t *order);
lf_view lf_broadcast(const lf_view *view, const lf_shape *shape);
int lf_reshape(const lf_view *view, const lf_shape *shape, lf_view *result);

/* The loops over views of one shape, the first one being the result: axes in the order of its memory, those that lie
 * together in all of them made one. */
lf_loops lf_loops_over(const lf_view *const *views, uint32_t count);
/* The same in the order of their axes. */
lf_loops lf_loops_in_order(const lf_view *const *views, uint32_t count);

#endif
