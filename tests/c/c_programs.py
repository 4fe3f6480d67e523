"""The C tests of the core: each program, and what it is linked with."""

from __future__ import annotations

FLAGS = [
    "-std=c11 -O1 -g1 -fno-fast-math -ffp-contract=off -D_POSIX_C_SOURCE=200112L",
    "-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror",
]
WRAP = "-Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=aligned_alloc"
PAGES = ["-pthread", "-Wl,--wrap=lf_alloc_large,--wrap=lf_free_large"]
WAITS = ["-pthread", "-Wl,--wrap=lf_sleep_while"]
PROGRAMS: dict[str, list[str]] = {
    "test_cpu.c": [],
    "test_memory.c": ["-Wl,--wrap=lf_quickest_placement"],
    "test_pages.c": PAGES,
    "test_dispatch.c": ["-Wl,--wrap=lf_cpu_features"],
    "test_bits.c": [],
    "test_core.c": [WRAP],
    "test_matrix.c": [],
    "test_panels.c": [],
    "test_pool.c": [WRAP],
    "test_variants.c": [WRAP],
    "test_projection.c": [],
    "test_pieces.c": [WRAP],
    "test_snapshot.c": [],
    "test_elements.c": [],
    "test_element_errors.c": [],
    "test_plain.c": [],
    "test_views.c": [],
    "test_buffers.c": [],
    "test_pool_threads.c": ["-pthread"],
    "test_pool_waits.c": WAITS,
    "test_places.c": ["-pthread"],
    "test_anywhere.c": [],
    "test_nulls.c": [],
    "test_forks.c": [],
    "test_forks_threads.c": ["-pthread"],
}
