/*
 * A pool from inside, of LSTMs or of whole models: the sessions of these have the state, and the steps, of their plan. The files build on each other in this order: places.c and handles.c; mend.c, what a fork leaves;
 * enter.c, who is inside; claims.c, whose a session is; kept.c, prepared halves; work.c, workspaces; pass.c, what is
 * computed; then what callers call: pool.c, sessions.c and calls.c.
 */
#ifndef LF_POOL_H
#define LF_POOL_H

#include <stdatomic.h>

#include "../forks.h"
#include "../pass.h"
#include "../pieces.h"
#include "../program/plan.h"

#define LF_NONE UINT32_MAX

/* Which place comes next, or LF_NONE. Another thread may look at one that is none of its business, and learns so later. */
typedef _Atomic uint32_t lf_link;
static inline uint32_t lf_linked(const lf_link *link) {
    return atomic_load_explicit(link, memory_order_relaxed);
}
static inline void lf_link_to(lf_link *link, uint32_t place) {
    atomic_store_explicit(link, place, memory_order_relaxed);
}

/* Where the links of places are: that of the first one, and how many bytes they are apart. */
typedef struct lf_links {
    char *first;
    size_t stride;
} lf_links;

/* The compiler must not leave out what was stored there before. */
#define LF_KEEP_STORES(pointer) __asm__ volatile("" : : "r"(pointer) : "memory")

/* What a session has beyond its state. */
typedef struct lf_slot {
    _Atomic unsigned long long handle; /* of the session that lives here; 0: none */
    _Atomic unsigned long long key;    /* the handle while nobody uses it, who does, or 0: none */
    lf_link next;                      /* among the free slots, or among those of one call */
    uint32_t prepared;                 /* which of pool->kept is its own; LF_NONE: none */
} lf_slot;

/* What one call needs while it computes, for up to LF_BATCH_SESSIONS at a time. */
typedef struct lf_work {
    atomic_flag taken;
    float *x;        /* [sessions][x_floats]: frames */
    float *sums;     /* as lf_batch.sums */
    float *pre;      /* [sessions][pre_floats]: for variants */
    char *quants[2]; /* int8: [sessions][quant_bytes] */
    size_t x_floats, quant_bytes;
    /* what is in the batch: each session's slot and the number of its frames in the call */
    lf_slot *slots[LF_BATCH_SESSIONS];
    size_t numbers[LF_BATCH_SESSIONS];
    /* rows, as lf_batch wants them */
    const float *x_rows[LF_BATCH_SESSIONS];
    float *h_rows[LF_BATCH_SESSIONS], *c_rows[LF_BATCH_SESSIONS], *o_rows[LF_BATCH_SESSIONS];
    float *kept_rows[LF_BATCH_SESSIONS], *y_rows[LF_BATCH_SESSIONS];
    void *quant_rows[2][LF_BATCH_SESSIONS];
    float *pre_rows[LF_BATCH_SESSIONS];
    lf_operand operands[2][LF_BATCH_SESSIONS];
    /* of a whole model, instead of all from x on: what lf_run_step takes */
    void *run_memory;
    char *states[LF_BATCH_SESSIONS];
    char *kept[LF_BATCH_SESSIONS];
    size_t at[LF_BATCH_SESSIONS];
} lf_work;

/* Where the sessions are; grow moves them. */
typedef struct lf_pool_room {
    size_t capacity;
    lf_slot *slots; /* [capacity] */
    float *states;  /* of each slot, see lf_slot_state */
} lf_pool_room;

struct lf_pool {
    const lf_model *model;
    lf_engine engine;
    _Atomic uint32_t process; /* in which the rest is in order: see mend.c */
    _Atomic uint32_t mending; /* in which it is being put in order */
    _Atomic int64_t users; /* calls inside, and who waits: see enter.c; negative while it grows */
    _Atomic uint32_t
        turn; /* another one after each time that there may be what somebody waits for */
    _Atomic size_t open_count;
    lf_pool_room room;
    lf_pool_room next_room; /* whole where is_moving: then it is to be the room */
    _Atomic int is_moving;
    size_t state_floats;         /* whole cache lines, so that no two sessions share one */
    size_t slot_floats;          /* twice as many where a call may fail half way */
    size_t most;                 /* sessions in a batch */
    _Atomic uint64_t free_slots; /* see places.c */
    size_t prepared;             /* how many sessions' halves there is room for */
    float *
        kept; /* [prepared][kept_floats]: recurrent sums, [L][LF_GATES * padded_hidden]; or as a plan has them */
    size_t kept_floats;
    lf_link *next_prepared;         /* [prepared] */
    _Atomic uint64_t free_prepared; /* see places.c */
    size_t threads, work_bytes;
    lf_work *work; /* [threads] */
};

/* The sessions that one call has taken, linked in the order of its handles. */
typedef struct lf_claim {
    uint32_t owner;
    lf_link first;
    size_t count, prepared; /* how many there are, and how many of them are prepared */
} lf_claim;

/* The frames of one call, see lf_pool_run, and which of the steps are to be taken now. */
typedef struct lf_frames {
    const void *const *inputs;
    void *const *outputs;
    const size_t *lengths;
    size_t steps;
    size_t first, end;
} lf_frames;

/*
 * Where the state of slot n is. After each second one a cache line stays empty: a tile reads the same k of
 * several h, and with a power of two between all of them those lines would get into each other's way.
 */
static inline size_t lf_state_at(const lf_pool *pool, size_t n) {
    return n * pool->slot_floats + n / 2 * (LF_ALIGNMENT / sizeof(float));
}

/* h [L][padded_output], then c [L][padded_hidden]; or as a plan has it, and behind it room for what it was before. */
static inline float *lf_slot_state(const lf_pool *pool, const lf_slot *slot) {
    return pool->room.states + lf_state_at(pool, (size_t)(slot - pool->room.slots));
}

/* Of a session that is prepared. */
static inline float *lf_slot_kept(const lf_pool *pool, const lf_slot *slot) {
    return pool->kept + slot->prepared * pool->kept_floats;
}

static inline lf_links lf_slot_links(const lf_pool *pool) {
    return (lf_links){(char *)&pool->room.slots->next, sizeof *pool->room.slots};
}

static inline lf_links lf_kept_links(const lf_pool *pool) {
    return (lf_links){(char *)pool->next_prepared, sizeof *pool->next_prepared};
}

static inline float *lf_slot_c(const lf_pool *pool, const lf_slot *slot) {
    return lf_slot_state(pool, slot) + pool->model->num_layers * pool->model->padded_output;
}

/*
 * The key of a slot in use. Calls on many sessions leave the number of their workspace, from 1, those on one
 * LF_ALONE, and both add LF_LOOKS where they leave h and c as they are; a close adds LF_ENDS. LF_TORN: half of a
 * step, since a fork has come in the middle. Handles are above all of them.
 */
#define LF_LAST_OWNER UINT32_MAX
#define LF_TORN UINT32_MAX
#define LF_ALONE (UINT32_C(1) << 20)
#define LF_LOOKS (UINT32_C(1) << 30)
#define LF_ENDS (UINT32_C(1) << 29)

/* places.c: LF_NONE where none is free. Any number of threads at once, and none waits for another. give_places: from
 * first on, before end, so that the first one is taken first. */
void lf_empty_list(_Atomic uint64_t *list);
uint32_t lf_take_place(_Atomic uint64_t *list, lf_links links);
void lf_give_place(_Atomic uint64_t *list, lf_links links, uint32_t place);
void lf_give_places(_Atomic uint64_t *list, lf_links links, size_t first, size_t end);

/* handles.c. lf_handle_slot: of a handle, which may be made up. */
void lf_seed_handles(const void *anything);
unsigned long long lf_new_handle(size_t slot);
size_t lf_handle_slot(unsigned long long handle);

/* mend.c: puts in order what a fork has left, once per process; any thread may come. end_mending lets the others in. */
void lf_pool_mend(lf_pool *pool);
void lf_pool_end_mending(lf_pool *pool);

/* enter.c. arrive mends what a fork has left, as the others do, too. 0 while the pool grows, and for enter_alone also
 * while any call is inside; enter_in_time waits. leave returns the status. wait_for: until take(pool) is not 0, which it is for somebody as soon as
 * another call leaves; returns that. */
void lf_pool_arrive(lf_pool *pool);
int lf_pool_enter(lf_pool *pool);
uint32_t lf_pool_wait_for(lf_pool *pool, uint32_t (*take)(lf_pool *pool));
void lf_pool_enter_in_time(lf_pool *pool);
lf_status lf_pool_leave(lf_pool *pool, lf_status status);
int lf_pool_enter_alone(lf_pool *pool);
void lf_pool_leave_alone(lf_pool *pool);

/* claims.c: one session for an owner, or all of them or none for claims->owner; on LF_OK they are to be released. */
lf_status lf_pool_claim(lf_pool *pool, unsigned long long handle, uint32_t owner, lf_slot **slot);
void lf_slot_release(lf_slot *slot);
lf_status lf_pool_claim_all(lf_pool *pool, const unsigned long long *handles, size_t count,
                            lf_claim *claims, size_t *bad);
void lf_pool_release_all(lf_pool *pool, const lf_claim *claims);

/* kept.c: the caller owns the slot. keep finds room for a prepared half, 0 where there is none; drop zeroes it and gives
 * it back. */
int lf_pool_keep(lf_pool *pool, lf_slot *slot);
void lf_pool_drop(lf_pool *pool, lf_slot *slot);

/* work.c: one block for all workspaces, null where there is no memory. Give back with free. */
lf_work *lf_work_create(const lf_model *model, size_t threads, size_t *bytes);

/* pass.c: the steps of frames, of which some may have been taken where one fails, and then *bad is the number of its
 * session in the call; and how many sessions of the claim are prepared after it. */
lf_status lf_pool_pass(lf_pool *pool, lf_work *work, const lf_claim *claim, const lf_frames *frames,
                       size_t *bad);
size_t lf_pool_prepare_pass(lf_pool *pool, lf_work *work, const lf_claim *claim);

#endif
