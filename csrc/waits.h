/*
 * Sleeping while a word has a value, for waits that may last: a thread that only lets others run, again and again, keeps
 * a CPU from all that have a lower priority, and so perhaps from the one that it waits for. Whoever gives the word
 * another value wakes those who sleep; nobody falls asleep after that, so none is forgotten.
 */
#ifndef LF_WAITS_H
#define LF_WAITS_H

#include <stdatomic.h>
#include <stdint.h>

/* May return although the word has that value. wake_one wakes at least one of those who sleep for it. */
void lf_sleep_while(_Atomic uint32_t *word, uint32_t value);
void lf_wake_one(_Atomic uint32_t *word);
void lf_wake_all(_Atomic uint32_t *word);

/* For waits that are over in no time. Whether everybody may run then, and not only who has the caller's priority or a
 * higher one. */
void lf_let_others_run(void);
int lf_everybody_gets_a_turn(void);

/* In the child of a fork, where nobody sleeps yet. */
void lf_forget_sleepers(void);

#endif
