#define _DEFAULT_SOURCE /* syscall */
#if defined(_WIN32)
#include <windows.h>
#else
#include <pthread.h>
#include <sched.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "waits.h"

#if defined(_WIN32)
void lf_let_others_run(void) { (void)SwitchToThread(); }

int lf_everybody_gets_a_turn(void) {
    return GetThreadPriority(GetCurrentThread()) <= THREAD_PRIORITY_NORMAL;
}
#else
void lf_let_others_run(void) { (void)sched_yield(); }

int lf_everybody_gets_a_turn(void) {
    struct sched_param parameter;
    int policy;
    return pthread_getschedparam(pthread_self(), &policy, &parameter) == 0 && policy == SCHED_OTHER;
}
#endif

/* LF_WAIT_ON_CONDITION: for tests, what other systems than Linux have. */
#if defined(SYS_futex) && !defined(LF_WAIT_ON_CONDITION)

/* As in linux/futex.h, which is not everywhere where the C library is. The system compares and falls asleep at once, and
 * in the child of a fork nobody sleeps. */
enum { FUTEX_WAIT_PRIVATE = 128, FUTEX_WAKE_PRIVATE = 129 };

void lf_sleep_while(_Atomic uint32_t *word, uint32_t value) {
    (void)syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

void lf_wake_one(_Atomic uint32_t *word) {
    (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

void lf_wake_all(_Atomic uint32_t *word) {
    (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}

void lf_forget_sleepers(void) {}

#else

/* One condition for all words: who is woken looks at its own, and falls asleep again where that has not changed. */
#if defined(_WIN32)
static SRWLOCK lock = SRWLOCK_INIT;
static CONDITION_VARIABLE changed = CONDITION_VARIABLE_INIT;

static void take_lock(void) { AcquireSRWLockExclusive(&lock); }
static void give_lock_back(void) { ReleaseSRWLockExclusive(&lock); }
static void sleep_without_lock(void) {
    (void)SleepConditionVariableSRW(&changed, &lock, INFINITE, 0);
}
static void wake(void) { WakeAllConditionVariable(&changed); }

void lf_forget_sleepers(void) {} /* there are no forks */
#else
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

static void take_lock(void) { (void)pthread_mutex_lock(&lock); }
static void give_lock_back(void) { (void)pthread_mutex_unlock(&lock); }
static void sleep_without_lock(void) { (void)pthread_cond_wait(&changed, &lock); }
static void wake(void) { (void)pthread_cond_broadcast(&changed); }

/* Threads that the child has not may have had the lock, and sleep. */
void lf_forget_sleepers(void) {
    static const pthread_mutex_t new_lock = PTHREAD_MUTEX_INITIALIZER;
    static const pthread_cond_t nobody = PTHREAD_COND_INITIALIZER;
    lock = new_lock;
    changed = nobody;
}
#endif

void lf_sleep_while(_Atomic uint32_t *word, uint32_t value) {
    take_lock();
    while (atomic_load_explicit(word, memory_order_relaxed) == value)
        sleep_without_lock();
    give_lock_back();
}

/* With the lock once in hand, so that nobody is between looking at the word and falling asleep. */
void lf_wake_all(_Atomic uint32_t *word) {
    (void)word;
    take_lock();
    give_lock_back();
    wake();
}

void lf_wake_one(_Atomic uint32_t *word) { lf_wake_all(word); }

#endif
