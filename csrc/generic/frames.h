/* Between a caller's memory and the rows of a session. */
#ifndef LF_GENERIC_FRAMES_H
#define LF_GENERIC_FRAMES_H

/*
 * A frame in, an output out: instead of memcpy, whose code and whose place in the linker's tables are
 * two more pages to be found when the caches are cold. Rows of ours are padded to whole vectors; the
 * caller's end at count. No lane is stored alone and then loaded with others: such a load waits until
 * the store has reached the cache, which is after the step before has ended.
 */
LF_INLINE int32_t lf_take_frame(int measures, float *x, const float *frame, size_t count) {
    size_t j = 0;
    vi each = vi_set1(0);
    int x_is_noncanonical = 0;
    for (; j + LF_LANES <= count; j += LF_LANES) {
        const vf values = vf_load_any(frame + j);
        vf_store(x + j, values);
        x_is_noncanonical |= vf_any_noncanonical(values);
        if (measures)
            each = vi_max(each, vi_magnitude(values));
    }
    if (j < count) {
        const vf values = vf_load_some(frame + j, count - j);
        vf_store(x + j, values);
        x_is_noncanonical |= vf_any_noncanonical(values);
        if (measures)
            each = vi_max(each, vi_magnitude(values));
    }
    if (x_is_noncanonical)
        canonicalise_f32(x, lf_round_up(count, LF_LANES));
    return measures ? vi_largest(each) : 0;
}

static int32_t take_frame_f32(float *x, const float *frame, size_t count) {
    return lf_take_frame(0, x, frame, count);
}
static int32_t measure_frame_f32(float *x, const float *frame, size_t count) {
    return lf_take_frame(1, x, frame, count);
}

static void give_output_f32(float *y, const float *h, size_t count) {
    size_t j = 0;
    for (; j + LF_LANES <= count; j += LF_LANES)
        vf_store_any(y + j, vf_load(h + j));
    if (j < count)
        vf_store_some(y + j, vf_load(h + j), count - j);
}

#endif
