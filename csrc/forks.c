/* Which process this is, of those that forks have made of one another. */
#include "forks.h"

#include "waits.h"

_Atomic uint32_t lf_process_number = 1;

#if defined(_WIN32)
int lf_watch_forks(void) { return 1; }
#else
#include <pthread.h>

static void begin_in_child(void) {
    atomic_fetch_add_explicit(&lf_process_number, 1, memory_order_relaxed);
    lf_forget_sleepers();
}

int lf_watch_forks(void) {
    static atomic_flag is_watched = ATOMIC_FLAG_INIT;
    if (atomic_flag_test_and_set(&is_watched))
        return 1;
    const int watched = pthread_atfork(NULL, NULL, begin_in_child) == 0;
    if (!watched)
        atomic_flag_clear(&is_watched);
    return watched;
}
#endif
