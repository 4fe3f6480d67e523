/* Entering a stream in which somebody is: another thread, or one that a fork has left there. */
#include "stream.h"

/* Behind c, of which whole cache lines belong to it; a step swaps the two. */
void lf_place_h(lf_stream *stream) {
    const size_t aligned = LF_ALIGNMENT / sizeof(float);
    stream->h = stream->c + lf_round_up(lf_c_floats(stream->model), aligned);
    stream->h_next = stream->h + lf_round_up(lf_h_floats(stream->model), aligned);
}

lf_status lf_enter_found(lf_stream *stream, lf_purpose what, uint32_t found) {
    const uint32_t mine = lf_mark_of(what);
    for (;;) {
        if (found / 2 == mine / 2)
            return LF_ERR_BUSY;
        const int is_whole = found != LF_STREAM_TORN && (found & 1 || !found);
        const uint32_t next = is_whole || what == LF_TO_OVERWRITE ? mine : LF_STREAM_TORN;
        if (atomic_compare_exchange_strong_explicit(&stream->inside, &found, next,
                                                    memory_order_acquire, memory_order_relaxed)) {
            if (next == LF_STREAM_TORN)
                return LF_ERR_FORKED;
            if (!is_whole && !stream->state)
                lf_place_h(stream); /* the fork may have come in the middle of the swap */
            return LF_OK;
        }
    }
}
