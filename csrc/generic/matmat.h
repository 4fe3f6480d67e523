/*
 * A packed matrix times several rows of input: each load of a weight serves a tile of rows, and a block of a panel
 * stays in L1 while all tiles pass over it.
 *
 * Every sum is still one chain in ascending k that starts where it does for a single row, so the bits are the same by
 * construction, whoever else is there: a block ends by storing the sums and the next one begins by loading them, which
 * rounds nothing.
 */
#ifndef LF_GENERIC_MATMAT_H
#define LF_GENERIC_MATMAT_H

/*
 * A strip of the sums of a few rows: the products of `count` k from `first` on, added to what `from` has for the first
 * row and, from_step floats further on, for the next (0: all start alike). The sums of two rows are sums_step apart.
 */
typedef struct lf_tile {
    const char *weights;
    size_t k_bytes; /* from one k to the next, or from one int8 group */
    const void *const *rows;
    size_t first, count;
    const void *from;
    size_t from_step;
    const char *ahead;   /* weights to be prefetched meanwhile, or null */
    const float *others; /* the sums of another product, to be added last; or null */
    void *sums;
    size_t sums_step;
} lf_tile;

/* The weights of one k of a strip; returns where those of the next are. */
LF_INLINE const char *lf_prefetch_strip(const char *ahead, size_t bytes, size_t k_bytes) {
    LF_UNROLL_ALL
    for (size_t at = 0; at < bytes; at += LF_ALIGNMENT)
        __builtin_prefetch(ahead + at, 0, 3);
    return ahead + k_bytes;
}

/* Rows in a tile of one vector: with eight chains two fma units are busy, an fma taking four cycles. */
enum { LF_MOST_TILE_ROWS = 8 };
_Static_assert(LF_TILE_ROWS <= LF_MOST_TILE_ROWS, "a tile of four vectors has no more");

LF_INLINE void lf_tile_float(lf_weight_type type, size_t vectors, size_t inputs,
                             const lf_tile *tile) {
    const size_t bytes = LF_LANES * lf_weight_bytes(type), k_bytes = tile->k_bytes;
    const size_t count = tile->count, from_step = tile->from_step, sums_step = tile->sums_step;
    const char *weights = tile->weights, *ahead = tile->ahead;
    const float *const from = tile->from, *const others = tile->others;
    float *const sums = tile->sums;
    const float *x[LF_MOST_TILE_ROWS];
    vf sum[LF_MOST_TILE_ROWS][LF_STRIP_VECTORS];
    LF_UNROLL_ALL
    for (size_t s = 0; s < inputs; s++) {
        x[s] = (const float *)tile->rows[s] + tile->first;
        LF_UNROLL_ALL
        for (size_t j = 0; j < vectors; j++)
            sum[s][j] = vf_load(from + s * from_step + j * LF_LANES);
    }
    LF_ALIGN_LOOP();
    LF_UNROLL_NONE
    for (size_t k = 0; k < count; k++) {
        vf xk[LF_MOST_TILE_ROWS];
        LF_UNROLL_ALL
        for (size_t s = 0; s < inputs; s++)
            xk[s] = vf_set1(x[s][k]);
        LF_UNROLL_ALL
        for (size_t j = 0; j < vectors; j++) {
            vf w = lf_load_weights(type, weights + j * bytes);
            LF_UNROLL_ALL
            for (size_t s = 0; s < inputs; s++)
                sum[s][j] = vf_fma(w, xk[s], sum[s][j]);
        }
        weights += k_bytes;
        if (ahead)
            ahead = lf_prefetch_strip(ahead, vectors * bytes, k_bytes);
    }
    LF_UNROLL_ALL
    for (size_t s = 0; others && s < inputs; s++) {
        LF_UNROLL_ALL
        for (size_t j = 0; j < vectors; j++)
            sum[s][j] = vf_add(vf_load(others + s * sums_step + j * LF_LANES), sum[s][j]);
    }
    LF_UNROLL_ALL
    for (size_t s = 0; s < inputs; s++) {
        LF_UNROLL_ALL
        for (size_t j = 0; j < vectors; j++)
            vf_store(sums + s * sums_step + j * LF_LANES, sum[s][j]);
    }
}

/* The same in integers, which are never added to others; first is a multiple of LF_INT8_GROUP. */
LF_INLINE void lf_tile_int8(size_t vectors, size_t inputs, const lf_tile *tile) {
    const size_t bytes = LF_LANES * LF_INT8_GROUP, k_bytes = tile->k_bytes;
    const size_t count = tile->count, from_step = tile->from_step, sums_step = tile->sums_step;
    const char *weights = tile->weights, *ahead = tile->ahead;
    const int32_t *const from = tile->from;
    int32_t *const sums = tile->sums;
    const lf_quant *x[LF_MOST_TILE_ROWS];
    vi sum[LF_MOST_TILE_ROWS][LF_STRIP_VECTORS];
    LF_UNROLL_ALL
    for (size_t s = 0; s < inputs; s++) {
        x[s] = (const lf_quant *)tile->rows[s] + tile->first;
        LF_UNROLL_ALL
        for (size_t j = 0; j < vectors; j++)
            sum[s][j] = vi_load(from + s * from_step + j * LF_LANES);
    }
    LF_ALIGN_LOOP();
    LF_UNROLL_NONE
    for (size_t k = 0; k < count; k += LF_INT8_GROUP) {
        lf_group xk[LF_MOST_TILE_ROWS];
        LF_UNROLL_ALL
        for (size_t s = 0; s < inputs; s++)
            xk[s] = vi_broadcast(x[s] + k);
        LF_UNROLL_ALL
        for (size_t j = 0; j < vectors; j++) {
            const char *w = weights + j * bytes;
            LF_UNROLL_ALL
            for (size_t s = 0; s < inputs; s++)
                sum[s][j] = vi_dot(sum[s][j], w, xk[s]);
        }
        weights += k_bytes;
        if (ahead)
            ahead = lf_prefetch_strip(ahead, vectors * bytes, k_bytes);
    }
    LF_UNROLL_ALL
    for (size_t s = 0; s < inputs; s++) {
        LF_UNROLL_ALL
        for (size_t j = 0; j < vectors; j++)
            vi_store(sums + s * sums_step + j * LF_LANES, sum[s][j]);
    }
}

/* A function for every weight type, width of a strip and number of inputs, and a table of one row, of two, .. */
typedef void (*lf_tile_function)(const lf_tile *tile);
#define LF_TILE_FLOAT(name, type, vectors, inputs)                                                 \
    static LF_NOINLINE void name##_##inputs(const lf_tile *tile) {                                 \
        lf_tile_float(type, vectors, inputs, tile);                                                \
    }
#define LF_TILE_INT8(name, type, vectors, inputs)                                                  \
    static LF_NOINLINE void name##_##inputs(const lf_tile *tile) {                                 \
        lf_tile_int8(vectors, inputs, tile);                                                       \
    }
#define LF_TILE_NAME(name, type, vectors, inputs) name##_##inputs,
#define LF_TABLE_OF_TILES(EACH, name, type, vectors, sums)                                         \
    EACH(LF_TILE_##sums, name, type, vectors)                                                      \
    static const lf_tile_function name[] = {EACH(LF_TILE_NAME, name, type, vectors)};
#define LF_TILES(type, name, bytes, sums)                                                          \
    LF_TABLE_OF_TILES(LF_EACH_TILE, tiles_##name, type, LF_STRIP_VECTORS, sums)                    \
    LF_TABLE_OF_TILES(LF_UP_TO_8, tail_1_##name, type, 1, sums)                                    \
    LF_TABLE_OF_TILES(LF_UP_TO_4, tail_2_##name, type, 2, sums)                                    \
    LF_TABLE_OF_TILES(LF_EACH_TILE, tail_3_##name, type, 3, sums)
LF_EACH_WEIGHT_TYPE(LF_TILES)
#undef LF_TILES
#undef LF_TABLE_OF_TILES
#undef LF_TILE_NAME
#undef LF_TILE_INT8
#undef LF_TILE_FLOAT

/* How a panel is cut: into strips of so many vectors, and the inputs into tiles of rows. */
typedef struct lf_cut {
    size_t vectors;
    size_t most_rows, quickest_rows; /* quickest where there is a choice */
    const lf_tile_function *tiles;   /* of one row, of two, .. */
} lf_cut;

#define LF_CUT(type, name, bytes, sums)                                                            \
    [type] = {LF_STRIP_VECTORS, LF_TILE_ROWS, LF_TILE_QUICKEST, tiles_##name},
static const lf_cut lf_cuts[LF_WEIGHT_TYPES] = {LF_EACH_WEIGHT_TYPE(LF_CUT)};
#undef LF_CUT

/* A tail of one vector, of two, of three: one strip, and the fewer vectors, the more rows keep the fma units busy. */
#define LF_TAIL_CUT(type, name, bytes, sums)                                                       \
    [type] = {{1, 8, 8, tail_1_##name},                                                            \
              {2, 4, 4, tail_2_##name},                                                            \
              {3, LF_TILE_ROWS, LF_TILE_QUICKEST, tail_3_##name}},
static const lf_cut lf_tail_cuts[LF_WEIGHT_TYPES][LF_NARROW_VECTORS - 1] = {
    LF_EACH_WEIGHT_TYPE(LF_TAIL_CUT)};
#undef LF_TAIL_CUT

/* Into how many tiles so many inputs are divided; their sizes differ by one at most, since four and four
 * are quicker than six and two. */
LF_INLINE size_t lf_tile_count(size_t inputs, lf_cut cut) {
    const size_t least = (inputs + cut.most_rows - 1) / cut.most_rows;
    const size_t quickest = inputs / cut.quickest_rows;
    return quickest > least ? quickest : least;
}

/* What a product does beside its sums. */
typedef struct lf_matmat_extras {
    const char *after;   /* weights that are read next, where those do not come from L2; or null */
    const float *others; /* see lf_tile: as the sums, sums_step apart; or null */
} lf_matmat_extras;

/* One panel times `inputs` rows: blocks of k, strips of each, tiles of rows. */
LF_INLINE void lf_matmat_panel(lf_weight_type type, size_t vectors, lf_cut cut, size_t inputs,
                               const char *weights, const lf_row_segment *operand, size_t segments,
                               const float *start, float *sums, size_t sums_step,
                               lf_matmat_extras extras) {
    const size_t group = type == LF_INT8 ? LF_INT8_GROUP : 1;
    const size_t k_bytes = vectors * LF_LANES * lf_weight_bytes(type);
    const size_t strip_bytes = cut.vectors * LF_LANES * group * lf_weight_bytes(type);
    const size_t block = LF_STRIP_COLUMN_BYTES / lf_weight_bytes(type); /* whole groups */
    const size_t tiles = lf_tile_count(inputs, cut);
    int is_first = 1;
    for (size_t segment = 0; segment < segments; segment++) {
        const void *const *const rows = operand[segment].values;
        const size_t count = operand[segment].count;
        const int is_last_segment = segment + 1 == segments;
        for (size_t k = 0; k < count; k += block, is_first = 0) {
            const size_t turns = count - k < block ? count - k : block;
            const char *const then = weights + turns * k_bytes;
            const int is_last = is_last_segment && k + turns == count;
            for (size_t j = 0; j < vectors; j += cut.vectors) {
                const size_t at = j * LF_LANES;
                const char *const strip = weights + at * group * lf_weight_bytes(type);
                const char *const next = j + cut.vectors < vectors ? strip + strip_bytes
                                         : is_last                 ? extras.after
                                                                   : then;
                lf_tile tile = {
                    .weights = strip,
                    .k_bytes = k_bytes * group,
                    .first = k,
                    .count = turns,
                    .from_step = is_first ? 0 : sums_step,
                    .sums_step = sums_step,
                };
                for (size_t n = 0, s = 0, size; n < tiles; n++, s += size) {
                    float *const to = sums + s * sums_step + at;
                    size = (inputs - s) / (tiles - n);
                    tile.rows = rows + s;
                    tile.from = is_first ? start + at : to;
                    if (extras.others && is_last)
                        tile.others = extras.others + s * sums_step + at;
                    if (extras.after && n + 1 == tiles)
                        tile.ahead = next;
                    tile.sums = to;
                    cut.tiles[size - 1](&tile);
                }
            }
            weights = then;
        }
    }
}

LF_INLINE void lf_matmat(lf_weight_type type, const lf_matrix *m, const lf_row_segment *operand,
                         size_t segments, size_t count, const float *start, float *sums) {
    const lf_geometry g = LF_GEOMETRY(type);
    const size_t panels = lf_panel_count(m, g);
    const lf_matmat_extras none = {NULL, NULL};
    for (size_t n = 0; n < panels; n++) {
        const lf_panel p = lf_panel_at(m, g, n);
        const float *const from = start ? start + p.row : lf_zeros;
        const size_t vectors = p.rows / LF_LANES;
        if (vectors < LF_NARROW_VECTORS)
            lf_matmat_panel(type, vectors, lf_tail_cuts[type][vectors - 1], count, p.weights,
                            operand, segments, from, sums + p.row, m->rows, none);
        else
            lf_matmat_panel(type, vectors, lf_cuts[type], count, p.weights, operand, segments, from,
                            sums + p.row, m->rows, none);
    }
}

#define LF_MATMAT(type, name, bytes, kind)                                                         \
    static void matmat_##name(const lf_matrix *m, const lf_row_segment *operand, size_t segments,  \
                              size_t count, const void *start, void *sums) {                       \
        lf_matmat(type, m, operand, segments, count, start, sums);                                 \
    }
LF_EACH_WEIGHT_TYPE(LF_MATMAT)
#undef LF_MATMAT

#endif
