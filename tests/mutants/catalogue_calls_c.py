"""Mistakes in the C core where calls wait for one another, and in what null pointers give."""

from .mutant import NULLS_C, PLACES_C, WAITS_C, Mutant

CALLS_C = [
    # ---- who waits for another call ----
    Mutant(
        "pools: who waits for another call never sleeps",
        "csrc/pool/enter.c",
        "        lf_sleep_while(&pool->turn, turn);\n",
        "        lf_let_others_run();\n    (void)turn;\n",
        WAITS_C,
    ),
    Mutant(
        "pools: who waits for another call does not say so",
        "csrc/pool/enter.c",
        "atomic_fetch_add_explicit(&pool->users, WAITS, memory_order_acq_rel);",
        "",
        WAITS_C,
    ),
    Mutant(
        "pools: a call that leaves wakes nobody",
        "csrc/pool/enter.c",
        "        lf_wake_one(&pool->turn); /* what",
        "        /* what",
        WAITS_C,
    ),
    Mutant(
        "pools: whose turn it is is looked up after what is waited for",
        "csrc/pool/enter.c",
        "    const uint32_t turn = atomic_load_explicit(&pool->turn, memory_order_acquire);\n"
        "    const uint32_t taken = take(pool);\n",
        "    const uint32_t taken = take(pool);\n"
        "    const uint32_t turn = atomic_load_explicit(&pool->turn, memory_order_acquire);\n",
        WAITS_C,
    ),
    Mutant(
        "pools: a pool that has grown wakes nobody",
        "csrc/pool/enter.c",
        "        lf_wake_all(&pool->turn);\n",
        "",
        WAITS_C,
    ),
    Mutant(
        "pools: a thread that has put a pool in order wakes nobody",
        "csrc/pool/mend.c",
        "    lf_wake_all(&pool->process);\n",
        "",
        WAITS_C,
    ),
    Mutant(
        "pools: in the child of a fork those count who waited in the parent",
        "csrc/pool/mend.c",
        "    atomic_store(&pool->users, 0); /*",
        "    atomic_fetch_and(&pool->users, INT64_C(0x3FFFFFFF00000000)); /*",
        "'tests/c/test_c_core.py::test_sleep_on_a_condition[test_forks.c]'",
    ),
    Mutant(
        "pools: a list of free places looks the same after a place was taken and given back",
        "csrc/pool/places.c",
        " | first) + CHANGE;",
        " | first) + CHANGE * 0;",
        PLACES_C,
    ),
    # ---- null pointers ----
    Mutant(
        "a null model is asked for its instruction set",
        "csrc/model.c",
        "return model ? model->isa->name : NULL;",
        "return model->isa->name;",
        NULLS_C,
    ),
    Mutant(
        "a null model is asked for its inputs",
        "csrc/program/load.c",
        "return model ? model->values.input_count : 0;",
        "return model->values.input_count;",
        NULLS_C,
    ),
    Mutant(
        "pools: handles are written to a null array",
        "csrc/pool/pool.c",
        "count++ < most && handles)",
        "count++ < most)",
        NULLS_C,
    ),
]
