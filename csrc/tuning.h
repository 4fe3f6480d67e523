/*
 * Every number that was fitted to a machine: what it decides, on which CPU it was measured, and the entry of
 * benchmarks/NOTES.md that says how to measure it again. All in 2026; on Zen 4 in November. The vectors' own choices stand in isa/vec_<isa>.h.
 */
#ifndef LF_TUNING_H
#define LF_TUNING_H

#include <stddef.h>
#include <stdint.h>

/* Bytes of a panel that L1 still has at the next pass, beside what else that needs. Decides the width of float32 panels,
 * and whether traversals go to and fro. Zen 5 (48 KiB L1d): "To and fro", 64 -> 64 10 %. */
#define LF_L1_KEEPS ((size_t)40 << 10)

/* Weights that L1 holds altogether, so that the order of the panels doesn't matter. Zen 5: "To and fro". */
#define LF_L1_HOLDS ((size_t)32 << 10)

/* Weights of a layer whose sums stay in registers from frame to h. It leaves room in the smallest L1 (32 KiB). Zen 5:
 * "Zen 5 again: how long a step's chain is", 1 -> 16 15 %. */
enum { LF_SMALL_BYTES = 24 << 10 };

/* Weights that fit L2 and leave room for anything else: so many quarters of it. Decides on traversal to and fro, on
 * the search for a placement, and on prefetches in pools. Zen 5, no figure of its own: "To and fro". */
enum { LF_L2_FITS_QUARTERS = 3 };

/* The hot gap: ticks of lf_ticks in which others can have read as much as L2 holds; a pass takes its own time on top,
 * at least so many bytes of weights in each. Zen 5: "A cold step again". */
#define LF_CACHES_KEEP_TICKS ((uint64_t)1 << 17)
enum { LF_BYTES_A_TICK = 4 };

/* A strip of a matrix for several rows: four vectors of rows, and as many columns as make 256 bytes of each. 8 KiB
 * (AVX2) or 16 KiB (AVX-512) of weights stay in L1, which a neighbour may share, while operands and sums pass by.
 * Zen 3: "Pools: tiles, strips and blocks", 256 -> 256 25 %. */
enum { LF_STRIP_VECTORS = 4, LF_STRIP_COLUMN_BYTES = 256 };

/* Sessions that share one pass over the weights at most: enough to pay for fetching a block from L2, and few enough for
 * their sums in one panel to stay close. Zen 5: "Pools on Zen 5, once more", 1 to 2 % over 96 with 100 sessions. */
enum { LF_BATCH_SESSIONS = 128 };

/* Rows of a product at once: enough to pay for fetching a block of weights from L2, and few enough for the sums of a panel
 * to stay in L1 beside it. Not yet measured on its own. */
enum { LF_PRODUCT_ROWS = 48 };

/* What lies between the instructions of a whole model, for all sessions of a pass, takes this part of L2. */
enum { LF_INTERMEDIATES_PART_OF_L2 = 2 };

/* Bytes of each coming session's state that a pool prefetches at most. Zen 5: the same entry, a quarter for large pools in
 * random order. */
enum { LF_STATE_PREFETCH_BYTES = 2048 };

/* From so many bytes on weights share a large page, and from so many they have their own. Zen 5: "Small weights and large
 * pages", int8 128 -> 128 cold 15 %; Zen 3: "Large pages for weights", cold 10 to 20 %. */
#define LF_LARGE_PAGE_SHARED ((size_t)16 << 10)
#define LF_LARGE_PAGE_ALONE ((size_t)256 << 10)

/*
 * The search for a placement of weights that fit L2: how far placements are apart, what is read in between (what the rest
 * of a program, an interpreter say, may have in L2 along with the weights), how many passes each gets, and how many of
 * these don't count. After a slow placement the next one takes a dozen passes until it is as quick as it is, and a slow
 * one is at its best in the first ones. Zen 5: "Where the pages lie, again" and "A place among others", 128 -> 128 5 to
 * 40 % in some processes; Zen 4: "What still pays", 7 %.
 */
#define LF_PLACEMENTS_APART ((size_t)512 << 10)
#define LF_PLACEMENT_OTHERS ((size_t)256 << 10)
enum { LF_PLACEMENT_PASSES = 32, LF_PLACEMENT_SETTLES = 16 };

/* What a step costs (lf_model.step_cost) below which it keeps Python's lock. Zen 5: "Python's lock", p99 of two threads 10 times. */
#define LF_KEEPS_PYTHONS_LOCK ((size_t)1 << 20)

/* A piece of a long run, between two looks at signals: bytes of weights read, of which the smallest model takes so many
 * a step. Plain C is slower by far: where the CPU has no fma, each is a call. */
#define LF_PIECE_BYTES ((size_t)128 << 20)
#define LF_PLAIN_PIECE_BYTES ((size_t)8 << 20)
#define LF_LEAST_STEP_BYTES ((size_t)4 << 10)

/* A call that waits for another one looks so often, letting others run in between, before it falls asleep: a millisecond
 * or so, after which falling asleep and being woken cost next to nothing. Zen 5: "Waiting awake and asleep", two threads
 * with one workspace 3 to 15 % with 100. And of a real-time priority, where those below it don't run meanwhile. */
enum { LF_TURNS_AWAKE = 4000, LF_REAL_TIME_TURNS_AWAKE = 100 };

/* Where weights are used for many rows: the bytes of weights that are read in the time of a multiply-add, with vectors
 * and in plain C. And the multiply-adds in the time of anything else that is done to an element. */
enum { LF_MULTIPLY_ADD_COSTS = 1, LF_PLAIN_MULTIPLY_ADD_COSTS = 4 };
enum { LF_MULTIPLY_ADDS_AN_ELEMENT = 8 };

#endif
