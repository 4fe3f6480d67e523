/*
 * One layer for several streams in one pass over its weights: each load of a weight serves a tile of
 * streams, and a block of a panel stays in L1 while all tiles of the batch pass over it.
 *
 * Every sum is still one chain in ascending k that starts where it does for a single stream, so the
 * bits are the same by construction, whoever else is in the batch: a block ends by storing the sums
 * and the next one begins by loading them, which rounds nothing.
 */
#ifndef LF_GENERIC_BATCH_H
#define LF_GENERIC_BATCH_H

/*
 * A block is 64 k of float32 weights, and more of smaller ones; a strip of it is four vectors of a
 * panel. 8 KiB (AVX2) or 16 KiB (AVX-512) of weights stay in L1, which a neighbour may share, while
 * operands and sums pass by.
 */
enum { LF_STRIP_VECTORS = 4, LF_STRIP_BYTES = 64 * 4 * LF_STRIP_VECTORS * LF_LANES };

/* Floats (or, for int8, integers) of one stream's sums in one panel. */
enum { LF_PANEL_SUMS = LF_GATES * LF_PANEL_VECTORS * LF_LANES };

/*
 * A strip of the sums of a few streams: the products of `count` k from `first` on, added to what `from`
 * has for the first stream and, from_step floats further on, for the next (0: all start alike). The
 * streams' sums are LF_PANEL_SUMS apart.
 */
typedef struct lf_tile {
    const char *weights;
    size_t k_bytes; /* from one k to the next, or from one int8 group */
    const void *const *rows;
    size_t first, count;
    const void *from;
    size_t from_step;
    const char *ahead;   /* weights to be asked for meanwhile, or null */
    const float *others; /* this place in the sums of the other half, to be added last; or null */
    void *sums;
} lf_tile;

/* The weights of one k of a strip; returns where those of the next are. */
LF_INLINE const char *lf_fetch_ahead(const char *ahead, size_t bytes, size_t k_bytes) {
    LF_UNROLL_ALL
    for (size_t at = 0; at < bytes; at += LF_ALIGNMENT)
        __builtin_prefetch(ahead + at, 0, 3);
    return ahead + k_bytes;
}

LF_INLINE void lf_tile_float(lf_weight_type type, size_t streams, const lf_tile *tile) {
    const size_t bytes = LF_LANES * lf_weight_bytes(type), k_bytes = tile->k_bytes;
    const size_t count = tile->count, from_step = tile->from_step;
    const char *weights = tile->weights, *ahead = tile->ahead;
    const float *const from = tile->from, *const others = tile->others;
    float *const sums = tile->sums;
    const float *x[LF_TILE_STREAMS];
    vf sum[LF_TILE_STREAMS][LF_STRIP_VECTORS];
    LF_UNROLL_ALL
    for (size_t s = 0; s < streams; s++) {
        x[s] = (const float *)tile->rows[s] + tile->first;
        LF_UNROLL_ALL
        for (size_t j = 0; j < LF_STRIP_VECTORS; j++)
            sum[s][j] = vf_load(from + s * from_step + j * LF_LANES);
    }
    LF_ALIGN_LOOP();
    LF_UNROLL_NONE
    for (size_t k = 0; k < count; k++) {
        vf xk[LF_TILE_STREAMS];
        LF_UNROLL_ALL
        for (size_t s = 0; s < streams; s++)
            xk[s] = vf_set1(x[s][k]);
        LF_UNROLL_ALL
        for (size_t j = 0; j < LF_STRIP_VECTORS; j++) {
            vf w = lf_load_weights(type, weights + j * bytes);
            LF_UNROLL_ALL
            for (size_t s = 0; s < streams; s++)
                sum[s][j] = vf_fma(w, xk[s], sum[s][j]);
        }
        weights += k_bytes;
        if (ahead)
            ahead = lf_fetch_ahead(ahead, LF_STRIP_VECTORS * bytes, k_bytes);
    }
    LF_UNROLL_ALL
    for (size_t s = 0; others && s < streams; s++) {
        LF_UNROLL_ALL
        for (size_t j = 0; j < LF_STRIP_VECTORS; j++)
            sum[s][j] = vf_add(vf_load(others + s * LF_PANEL_SUMS + j * LF_LANES), sum[s][j]);
    }
    LF_UNROLL_ALL
    for (size_t s = 0; s < streams; s++) {
        LF_UNROLL_ALL
        for (size_t j = 0; j < LF_STRIP_VECTORS; j++)
            vf_store(sums + s * LF_PANEL_SUMS + j * LF_LANES, sum[s][j]);
    }
}

/* The same in integers, which are never added to others; first is a multiple of LF_INT8_GROUP. */
LF_INLINE void lf_tile_int8(size_t streams, const lf_tile *tile) {
    const size_t bytes = LF_LANES * LF_INT8_GROUP, k_bytes = tile->k_bytes;
    const size_t count = tile->count, from_step = tile->from_step;
    const char *weights = tile->weights, *ahead = tile->ahead;
    const int32_t *const from = tile->from;
    int32_t *const sums = tile->sums;
    const lf_quant *x[LF_TILE_STREAMS];
    vi sum[LF_TILE_STREAMS][LF_STRIP_VECTORS];
    LF_UNROLL_ALL
    for (size_t s = 0; s < streams; s++) {
        x[s] = (const lf_quant *)tile->rows[s] + tile->first;
        LF_UNROLL_ALL
        for (size_t j = 0; j < LF_STRIP_VECTORS; j++)
            sum[s][j] = vi_load(from + s * from_step + j * LF_LANES);
    }
    LF_ALIGN_LOOP();
    LF_UNROLL_NONE
    for (size_t k = 0; k < count; k += LF_INT8_GROUP) {
        vi xk[LF_TILE_STREAMS];
        LF_UNROLL_ALL
        for (size_t s = 0; s < streams; s++)
            xk[s] = vi_broadcast(x[s] + k);
        LF_UNROLL_ALL
        for (size_t j = 0; j < LF_STRIP_VECTORS; j++) {
            const char *w = weights + j * bytes;
            LF_UNROLL_ALL
            for (size_t s = 0; s < streams; s++)
                sum[s][j] = vi_dot(sum[s][j], w, xk[s]);
        }
        weights += k_bytes;
        if (ahead)
            ahead = lf_fetch_ahead(ahead, LF_STRIP_VECTORS * bytes, k_bytes);
    }
    LF_UNROLL_ALL
    for (size_t s = 0; s < streams; s++) {
        LF_UNROLL_ALL
        for (size_t j = 0; j < LF_STRIP_VECTORS; j++)
            vi_store(sums + s * LF_PANEL_SUMS + j * LF_LANES, sum[s][j]);
    }
}

/* A function for every weight type and number of streams, and a table to find it. */
#define LF_TILE_FLOAT(name, type, streams)                                                         \
    static LF_NOINLINE void name##_##streams(const lf_tile *tile) {                                \
        lf_tile_float(type, streams, tile);                                                        \
    }
#define LF_TILE_INT8(name, type, streams)                                                          \
    static LF_NOINLINE void name##_##streams(const lf_tile *tile) { lf_tile_int8(streams, tile); }
#define LF_TILE_NAME(name, type, streams) name##_##streams,
#define LF_TILES(type, name, bytes, sums) LF_EACH_TILE(LF_TILE_##sums, tile_##name, type)
LF_EACH_WEIGHT_TYPE(LF_TILES)
#undef LF_TILES
#define LF_ENTRY_OF_TILES(type, name, bytes, sums)                                                 \
    [type] = {LF_EACH_TILE(LF_TILE_NAME, tile_##name, type)},
static void (*const lf_tiles[LF_WEIGHT_TYPES][LF_TILE_STREAMS])(const lf_tile *tile) = {
    LF_EACH_WEIGHT_TYPE(LF_ENTRY_OF_TILES)};
#undef LF_TILE_NAME
#undef LF_TILE_INT8
#undef LF_TILE_FLOAT

/* Into how many tiles so many streams are divided; their sizes differ by one at most, since four and four
 * are quicker than six and two. */
LF_INLINE size_t lf_tile_count(size_t streams) {
    const size_t least = (streams + LF_TILE_STREAMS - 1) / LF_TILE_STREAMS;
    const size_t quickest = streams / LF_TILE_QUICKEST;
    return quickest > least ? quickest : least;
}

/* One half of the sums of one panel, all streams: blocks of k, strips of each, tiles of streams. others:
 * see lf_tile. after: what is read after this half, where that does not come from L2; or null. */
LF_INLINE void lf_batch_half(lf_weight_type type, size_t vectors, size_t streams,
                             const char *weights, const void *const *rows, size_t count,
                             const float *start, const char *after, const float *others,
                             float *sums) {
    const size_t group = type == LF_INT8 ? LF_INT8_GROUP : 1;
    const size_t k_bytes = LF_GATES * vectors * LF_LANES * lf_weight_bytes(type);
    const size_t block = /* a multiple of group */
        LF_STRIP_BYTES / (LF_STRIP_VECTORS * LF_LANES) / lf_weight_bytes(type);
    const size_t tiles = lf_tile_count(streams);
    for (size_t k = 0; k < count; k += block) {
        const size_t turns = count - k < block ? count - k : block;
        for (size_t j = 0; j < LF_GATES * vectors; j += LF_STRIP_VECTORS) {
            const size_t at = j * LF_LANES;
            const char *const strip = weights + k * k_bytes + at * group * lf_weight_bytes(type);
            const size_t strip_bytes = LF_STRIP_VECTORS * LF_LANES * group * lf_weight_bytes(type);
            const char *const next = j + LF_STRIP_VECTORS < LF_GATES * vectors ? strip + strip_bytes
                                     : k + turns < count ? weights + (k + turns) * k_bytes
                                                         : after;
            lf_tile tile = {
                .weights = strip,
                .k_bytes = k_bytes * group,
                .first = k,
                .count = turns,
                .from_step = k ? LF_PANEL_SUMS : 0,
            };
            for (size_t n = 0, s = 0, size; n < tiles; n++, s += size) {
                float *const to = sums + s * LF_PANEL_SUMS + at;
                size = (streams - s) / (tiles - n);
                tile.rows = rows + s;
                tile.from = k ? to : start + at;
                if (others && k + turns == count)
                    tile.others = others + s * LF_PANEL_SUMS + at;
                if (after && n + 1 == tiles)
                    tile.ahead = next;
                tile.sums = to;
                lf_tiles[type][size - 1](&tile);
            }
        }
    }
}

/* int8: corrects the sums of one panel for a later pass, which no longer knows by how much. */
LF_INLINE void lf_correct_sums(float *sums, size_t rows, lf_operand operand) {
    int32_t *const whole = (int32_t *)(void *)sums;
    LF_UNROLL_ALL
    for (size_t j = 0; j < rows; j++)
        vi_store(whole + j * LF_LANES, lf_corrected(whole + j * LF_LANES, operand));
}

/* The pre-activations of one gate of a vector of units for stream s, from the sums of both halves. finish: for
 * int8, see lf_scaled. */
LF_INLINE vf lf_batch_gate(lf_weight_type type, int is_plain, const lf_batch *batch, size_t s,
                           const float *finish, const float *input, const float *recurrent) {
    if (type != LF_INT8)
        return vf_add(vf_load(input), vf_load(recurrent));
    const lf_operand x = batch->operands[0][s], h = batch->operands[1][s];
    return lf_scaled(is_plain, finish, x.scale, h.scale,
                     lf_corrected((const int32_t *)(const void *)input, x),
                     lf_corrected((const int32_t *)(const void *)recurrent, h));
}

/*
 * One panel of `vectors` vectors of hidden units. c_is_odd: of each stream, see lf_update_cell. In a pass
 * over both halves the last tiles add them up: they compute while memory has time to spare, and what comes
 * after them finds half as much to read.
 */
LF_INLINE void lf_batch_panel(lf_weight_type type, int is_plain, size_t vectors,
                              const lf_batch *batch, const char *panel, const char *next,
                              size_t unit, int *c_is_odd) {
    const lf_panel p = lf_panel_at(type, vectors, batch->layer, panel);
    const size_t half_sums = batch->streams * LF_PANEL_SUMS;
    const char *const after[2] = {next && batch->end_half == 2 ? p.weights[1] : next, next};
    const int adds_up = type != LF_INT8 && batch->end_half - batch->first_half == 2;
    for (size_t half = batch->first_half; half < batch->end_half; half++)
        lf_batch_half(type, vectors, batch->streams, p.weights[half], batch->rows[half],
                      p.count[half], p.start[half], after[half],
                      adds_up && half == 1 ? batch->sums : NULL, batch->sums + half * half_sums);
    const size_t rows = LF_GATES * vectors;
    const float *const finish = type == LF_INT8 ? lf_finish_at(type, batch->layer, unit) : NULL;
    for (size_t s = 0; s < batch->streams; s++) {
        const float *input = batch->sums + s * LF_PANEL_SUMS, *recurrent = input + half_sums;
        float *kept = batch->recurrent ? batch->recurrent[s] + LF_GATES * unit : NULL;
        if (batch->first_half == 1) {
            memcpy(kept, recurrent, rows * LF_LANES * sizeof(float));
            if (type == LF_INT8)
                lf_correct_sums(kept, rows, batch->operands[1][s]);
            continue;
        }
        LF_UNROLL_ALL
        for (size_t v = 0; v < vectors; v++) {
            const size_t at = unit + v * LF_LANES;
            vf a[LF_GATES];
            LF_UNROLL_ALL
            for (size_t gate = 0; gate < LF_GATES; gate++) {
                const size_t row = (gate * vectors + v) * LF_LANES;
                a[gate] = adds_up ? vf_load(recurrent + row)
                                  : lf_batch_gate(type, is_plain, batch, s,
                                                  finish ? lf_finish_rows(finish, v, gate) : NULL,
                                                  input + row,
                                                  (batch->end_half == 1 ? kept : recurrent) + row);
            }
            if (is_plain)
                c_is_odd[s] |=
                    lf_update_cell(&lf_plain_cell, a, batch->c[s] + at, batch->o[s] + at);
            else
                lf_store_gates(a, batch->layer->padded_hidden, batch->pre[s] + at);
        }
    }
}

/* What a variant does after all sums of a layer. A projection takes the tiles of the other sums. */
LF_INLINE void lf_batch_variant_output(lf_weight_type type, const lf_batch *batch) {
    const lf_layer *layer = batch->layer;
    const size_t r_at = LF_GATES * layer->padded_hidden;
    const int projects = layer->variant->projection != NULL;
    const void *rows[LF_BATCH_STREAMS];
    lf_operand operands[LF_BATCH_STREAMS] = {{0}};
    for (size_t s = 0; s < batch->streams; s++) {
        float *const r = projects ? batch->pre[s] + r_at : batch->h[s];
        lf_variant_cell(layer, batch->pre[s], batch->c[s], r);
        rows[s] = type == LF_INT8 ? batch->quants[1][s] : r;
        if (type == LF_INT8 && projects)
            operands[s] = lf_quantise_frame(batch->quants[1][s], r, layer->padded_hidden);
    }
    const char *at = layer->variant->projection;
    for (size_t first = 0; projects && first < layer->output_size; first += LF_STRIP_OUTPUTS) {
        const lf_strip strip = lf_strip_at(type, layer, at);
        lf_batch_half(type, 1, batch->streams, strip.weights, rows, layer->hidden_size, strip.start,
                      NULL, NULL, batch->sums);
        for (size_t s = 0; s < batch->streams; s++)
            lf_strip_output(type, layer, &strip, batch->sums + s * LF_PANEL_SUMS, operands[s],
                            first, batch->h[s]);
        at = strip.end;
    }
}

LF_INLINE void lf_batch_each_panel(lf_weight_type type, int is_plain, const lf_batch *batch) {
    const lf_layer *layer = batch->layer;
    int c_is_odd[LF_BATCH_STREAMS] = {0};
    const size_t panels = lf_panel_count(layer);
    for (size_t n = 0; n < panels; n++) {
        const lf_place place = lf_place_of(type, layer, n, batch->descending);
        const size_t then = n + 1 < panels ? n + 1 : n; /* after the last any will do */
        const char *const next =
            batch->fetches_ahead ? lf_place_of(type, layer, then, batch->descending).panel : NULL;
        if (place.is_wide)
            lf_batch_panel(type, is_plain, LF_PANEL_VECTORS, batch, place.panel, next, place.unit,
                           c_is_odd);
        else
            lf_batch_panel(type, is_plain, 1, batch, place.panel, next, place.unit, c_is_odd);
    }
    if (batch->first_half == 1)
        return;
    if (!is_plain)
        lf_batch_variant_output(type, batch);
    for (size_t s = 0; s < batch->streams; s++) {
        float *const h = batch->h[s];
        if (is_plain)
            lf_output(&lf_plain_cell, batch->c[s], batch->o[s], h, layer->padded_hidden,
                      c_is_odd[s]);
        if (batch->y) /* while h is in L1 */
            give_output_f32(batch->y[s], h, layer->output_size);
    }
}

/* int8: the operands of each stream, scaled by themselves. */
LF_INLINE void lf_quantise_batch(lf_batch *batch) {
    for (size_t s = 0; s < batch->streams; s++) {
        lf_pass pass = {
            .layer = batch->layer,
            .first_half = batch->first_half,
            .end_half = batch->end_half,
            .x = batch->x ? batch->x[s] : NULL,
            .h = batch->h[s],
            .quants = {batch->quants[0][s], batch->quants[1][s]},
        };
        lf_quantise_operands(&pass);
        batch->operands[0][s] = pass.operands[0];
        batch->operands[1][s] = pass.operands[1];
    }
}

#define LF_BATCH_PASS(type, name, bytes, sums)                                                     \
    static LF_NOINLINE void batch_variants_##name(const lf_batch *batch) {                         \
        lf_batch_each_panel(type, 0, batch);                                                       \
    }                                                                                              \
    static void batch_pass_##name(lf_batch *batch) {                                               \
        const int is_int8 = type == LF_INT8;                                                       \
        batch->rows[0] = (const void *const *)(is_int8 ? (const void *)batch->quants[0]            \
                                                       : (const void *)batch->x);                  \
        batch->rows[1] = (const void *const *)(is_int8 ? (const void *)batch->quants[1]            \
                                                       : (const void *)batch->h);                  \
        if (is_int8)                                                                               \
            lf_quantise_batch(batch);                                                              \
        if (batch->layer->variant)                                                                 \
            batch_variants_##name(batch);                                                          \
        else                                                                                       \
            lf_batch_each_panel(type, 1, batch);                                                   \
    }
LF_EACH_WEIGHT_TYPE(LF_BATCH_PASS)
#undef LF_BATCH_PASS

#endif
