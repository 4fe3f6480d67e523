"""The C core on its own: compiled with warnings as errors and sanitizers, and run."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
from c_programs import FLAGS, PROGRAMS, WAITS, WRAP

from conftest import known_isas

ROOT = Path(__file__).parents[2]
CSRC, HERE = ROOT / "csrc", ROOT / "tests/c"
SANITIZERS = "-fsanitize=address,undefined -fno-sanitize-recover=all"
THREAD_SANITIZER = "-fsanitize=thread"

if not CSRC.exists():
    pytest.skip("the tests run without the sources", allow_module_level=True)
COMPILERS = [cc for cc in ("gcc", "clang") if shutil.which(cc)]
if not COMPILERS:
    pytest.skip("neither gcc nor clang is installed", allow_module_level=True)


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, check=False)


def sanitizers(compiler, directory, flags=SANITIZERS):
    """The flags, if programs built with them run here; a bare clang comes without its runtime."""
    probe = directory / "probe.c"
    probe.write_text("int main(void) { return 0; }\n")
    built = run(compiler, *flags.split(), str(probe), "-o", str(directory / "probe"))
    works = built.returncode == 0 and run(str(directory / "probe")).returncode == 0
    return flags.split() if works else []


def kernels_to_sanitise(compiler):
    """Of the ISAs that run here the best one, and the plain C that runs everywhere.

    By one compiler: with sanitizers each takes up to a minute. The others only have to be there.
    """
    if compiler != COMPILERS[0]:
        return set()
    runs = [isa for isa, missing in known_isas().items() if not missing] or [*listed("VECTORS")]
    return {runs[0], "scalar"}


@pytest.fixture(scope="session", params=COMPILERS)
def core(request, tmp_path_factory):
    """The compiler with its flags, and the objects of the core, with sanitizers."""
    directory = tmp_path_factory.mktemp(request.param)
    plain = [request.param, *" ".join(FLAGS).split(), f"-I{CSRC}"]
    compiler = [*plain, *sanitizers(request.param, directory)]
    chosen = kernels_to_sanitise(request.param)
    kernels = {path: path.stem in chosen for path in CSRC.glob("isa/*.c")}
    objects = compile_all(
        directory, compiler, [*core_sources(), *(path for path in kernels if kernels[path])]
    )
    others = [path for path in kernels if not kernels[path]]
    return directory, compiler, [*objects, *compile_all(directory, plain, others)]


def core_sources():
    """All but the kernels and what is for Python."""
    return [path for path in CSRC.rglob("*.c") if path.parent.name not in {"isa", "python"}]


def compile_all(directory, compiler, sources):
    """The objects of these sources, as many at a time as there are CPUs."""

    def compile_one(source):
        target = str(directory / f"{source.parent.name}_{source.stem}.o")
        built = run(*compiler, "-c", str(source), "-o", target)
        assert built.returncode == 0, built.stderr
        return target

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(compile_one, sorted(sources, reverse=True)))


def build_only(core, source, *options):
    directory, compiler, objects = core
    program = str(directory / source.removesuffix(".c"))
    return run(*compiler, *options, str(HERE / source), *objects, "-o", program, "-lm")


def build_and_run(core, source, *options):
    built = build_only(core, source, *options)
    assert built.returncode == 0, built.stderr
    return run(str(core[0] / source.removesuffix(".c")))


@pytest.mark.parametrize("source", PROGRAMS)
def test_core(core, source):
    process = build_and_run(core, source, *PROGRAMS[source])
    if process.returncode == 77:
        pytest.skip(process.stdout.strip())
    assert process.returncode == 0, process.stdout + process.stderr


def test_a_plain_access_at_an_odd_address_is_noticed(core):
    """Negative control."""
    if not set(SANITIZERS.split()) <= set(core[1]):
        pytest.skip("the sanitizers do not run here")
    process = build_and_run(core, "test_anywhere.c", "-DLF_TEST_PLAINLY")
    assert process.returncode != 0
    assert "misaligned address" in process.stderr


def test_a_real_time_caller_sleeps_where_it_has_to_wait(quick):
    """Or whoever it waits for never has the CPU."""
    process = build_and_run(quick, "test_pool_waits.c", *WAITS, "-DLF_TEST_REAL_TIME")
    if process.returncode == 77:
        pytest.skip(process.stdout.strip())
    assert process.returncode == 0, process.stdout + process.stderr


def test_a_real_time_caller_that_spins_is_noticed(quick):
    """Negative control: as it was, a turn of sched_yield again and again."""
    options = [*WAITS, "-DLF_TEST_REAL_TIME", "-DLF_TEST_SPINS"]
    process = build_and_run(quick, "test_pool_waits.c", *options)
    if process.returncode == 77:
        pytest.skip(process.stdout.strip())
    assert process.returncode == -signal.SIGALRM


@pytest.fixture(scope="session")
def on_condition(quick, tmp_path_factory):
    """As `quick`, and sleeping as it is done where there is no futex."""
    directory = tmp_path_factory.mktemp("condition")
    _, compiler, objects = quick
    compiler = [*compiler, "-DLF_WAIT_ON_CONDITION"]
    others = [path for path in objects if not path.endswith("/csrc_waits.o")]
    return directory, compiler, [*others, *compile_all(directory, compiler, [CSRC / "waits.c"])]


@pytest.mark.parametrize(
    "source", ["test_pool_waits.c", "test_pool_threads.c", "test_forks.c", "test_forks_threads.c"]
)
def test_sleep_on_a_condition(on_condition, source):
    process = build_and_run(on_condition, source, *PROGRAMS[source])
    assert process.returncode == 0, process.stdout + process.stderr


@pytest.mark.parametrize("isa", known_isas() or ["scalar"])
def test_vector_operations(core, isa):
    process = build_and_run(core, "test_vec.c", f"-DLF_THIS_ISA={isa}")
    if process.returncode == 77:
        pytest.skip(process.stdout.strip())
    assert process.returncode == 0, process.stdout + process.stderr


def run_programs(core, *options):
    """Random and damaged models through the core, on all of its instruction sets."""
    built = build_only(core, "run_programs.c", WRAP, "-Wl,--wrap=lf_cpu_l2_bytes", *options)
    assert built.returncode == 0, built.stderr
    fuzz = str(ROOT / "tests/models/fuzz_c_programs.py")
    return run(sys.executable, fuzz, "--program", str(core[0] / "run_programs"), "--count", "200")


def test_programs(core):
    process = run_programs(core)
    assert process.returncode == 0, process.stdout + process.stderr
    assert "whole: 200 files, 200 of them ran" in process.stdout


def restore_snapshots(core, *options):
    """Damaged snapshots through the core, which has to do with each what Python does."""
    built = build_only(core, "restore_snapshots.c", *options)
    assert built.returncode == 0, built.stderr
    fuzz = str(ROOT / "tests/streams/fuzz_snapshots.py")
    program = str(core[0] / "restore_snapshots")
    options = ("--program", program, "--only", "of_c", "--count", "600")
    return run(sys.executable, fuzz, *options)


def test_snapshots(core):
    process = restore_snapshots(core)
    assert process.returncode == 0, process.stdout + process.stderr
    assert len(re.findall(r"(?m)^\w+: 200 snapshots, [1-9]\d* of them taken", process.stdout)) == 3


def test_a_snapshot_that_is_taken_otherwise_is_noticed(core):
    """Negative control."""
    process = restore_snapshots(core, "-DLF_TEST_OTHER_STATE")
    assert process.returncode == 1
    assert re.search(r"--only lstm --seed \d+: in C 0 [0-9a-f]+, in Python another", process.stderr)


def test_a_pool_that_gets_other_inputs_is_noticed(core):
    """Negative control."""
    process = run_programs(core, "-DLF_TEST_OTHER_INPUTS")
    assert process.returncode == 1
    assert "a pool is not its streams" in process.stderr


def test_an_isa_that_is_not_listed_is_not_tested_as_another(core):
    process = build_only(core, "test_vec.c", "-DLF_THIS_ISA=avx9")
    assert "LF_THIS_ISA is not in isa_list.inc" in process.stderr


def listed(field):
    """What isa_list.inc says of each ISA."""
    text = (CSRC / "cpu/isa_list.inc").read_text().replace("\\\n", "")
    return dict(re.findall(rf"#define LF_ISA_([a-z0-9]+)_{field} +(.*)", text))


def required(isa):
    value = listed("REQUIRED")[isa]
    others = {
        name
        for other in re.findall(r"LF_ISA_([a-z0-9]+)_REQUIRED", value)
        for name in required(other)
    }
    return others | set(re.findall(r"LF_CPU_(\w+)", value))


@pytest.mark.parametrize("isa", sorted(listed("TARGET")))
def test_an_isa_requires_what_it_is_compiled_for(isa):
    """Or the best ISA of some CPU would be one that it dies of."""
    words = re.split("[,+]", listed("TARGET")[isa].strip('"'))
    target = {word for word in words if "=" not in word}  # a core to tune for is no feature
    assert target == {name.lower() for name in required(isa)}


def test_every_isa_has_its_file():
    names = {path.stem for path in CSRC.glob("isa/*.c")}
    assert names == set(listed("IS_LISTED"))
    for name in names:
        assert f"#define LF_THIS_ISA {name}\n" in (CSRC / f"isa/{name}.c").read_text()


@pytest.fixture(scope="session")
def quick(tmp_path_factory):
    """As `core`, in seconds: the first compiler, the scalar kernels alone, no sanitizer."""
    directory = tmp_path_factory.mktemp("quick")
    compiler = [COMPILERS[0], *" ".join(FLAGS).split(), f"-I{CSRC}"]
    sources = [*core_sources(), CSRC / "isa/scalar.c", HERE / "only_scalar.c"]
    return directory, compiler, compile_all(directory, compiler, sources)


@pytest.mark.parametrize(
    "source",
    [
        "test_core.c",
        "test_matrix.c",
        "test_memory.c",
        "test_pool.c",
        "test_pool_waits.c",
        "test_places.c",
        "test_anywhere.c",
        "test_nulls.c",
        "test_variants.c",
        "test_snapshot.c",
        "test_plain.c",
        "test_views.c",
        "test_buffers.c",
    ],
)
def test_core_quickly(quick, source):
    """Statuses, busy flags, what close zeroes, lengths: known before the sanitizers are through."""
    process = build_and_run(quick, source, *PROGRAMS[source])
    assert process.returncode == 0, process.stdout + process.stderr


def calls_between(objects):
    """Of each object file those that define what it needs."""
    defined, needed = {}, {}
    for path in objects:
        symbols = run("nm", path).stdout.splitlines()
        needed[path] = {line.split()[-1] for line in symbols if " U " in line}
        defined |= {line.split()[-1]: path for line in symbols if re.search(" [TDBR] ", line)}
    return {
        path: {defined[name] for name in names & set(defined)} for path, names in needed.items()
    }


@pytest.mark.skipif(not shutil.which("nm"), reason="nm is not installed")
def test_no_two_files_call_each_other(quick):
    """Nor any longer circle; and, as a negative control, an edge back makes one."""
    graph = calls_between(quick[2])
    order = list(TopologicalSorter(graph).static_order())
    stream, state = (
        next(path for path in order if path.endswith(f"/csrc_{name}.o"))
        for name in ("stream", "state")
    )
    assert state in graph[stream]
    with pytest.raises(CycleError):
        TopologicalSorter(graph | {state: {stream}}).prepare()


@pytest.fixture(scope="session", params=COMPILERS)
def threads(request, tmp_path_factory):
    """As `core`, with the thread sanitizer, and with the scalar kernels alone: others take long."""
    directory = tmp_path_factory.mktemp(f"threads-{request.param}")
    flags = sanitizers(request.param, directory, THREAD_SANITIZER)
    if not flags:
        pytest.skip(f"{request.param}: its thread sanitizer does not run here")
    compiler = [request.param, *" ".join(FLAGS).split(), *flags, f"-I{CSRC}"]
    sources = [*core_sources(), CSRC / "isa/scalar.c", HERE / "only_scalar.c"]
    return directory, compiler, compile_all(directory, compiler, sources)


@pytest.mark.parametrize(
    "source",
    ["test_pool_threads.c", "test_pool_waits.c", "test_places.c", "test_pages.c", "test_memory.c"],
)
def test_threads_do_not_race(threads, source):
    """The last for what it checks: with the address sanitizer no weights are in large pages."""
    process = build_and_run(threads, source, *PROGRAMS[source])
    assert process.returncode == 0, process.stdout + process.stderr


def test_a_race_is_noticed(threads):
    """Negative control: a thread that reads sessions which it has not claimed."""
    process = build_and_run(threads, "test_pool_threads.c", "-pthread", "-DLF_TEST_WITHOUT_CLAIM")
    assert process.returncode != 0
    assert "data race" in process.stderr


def test_the_header_gives_sizes_with_a_projection():
    """What each of these holds is P values where there is one: test_projection.c shows it."""
    text = " ".join((CSRC / "lstm_fast.h").read_text().replace(" * ", " ").split())
    assert "y [P], the last layer's h" in text
    assert "ys [T][P]" in text
    assert "ys [count][P]" in text
    assert "ys [count][steps][P]" in text
    assert text.count("h is [num_layers][P], c is [num_layers][H]") == 2
    assert not re.search(r"(y|ys) (\[\w+\])*\[H\]", text)


def pointers_of(header):
    """Of each function of a header the positions of the pointers that it takes."""
    text = re.sub(r"/\*.*?\*/", "", header, flags=re.DOTALL)
    return {
        name: {n for n, one in enumerate(parameters.split(",")) if "*" in one}
        for name, parameters in re.findall(r"\b(lf_\w+)\(([^()]*)\);", text)
    }


def pointers_without_a_test(header):
    """Those that no row of test_nulls.c gives as null."""
    wanted = pointers_of(header)
    for name, arguments in re.findall(
        r"\b(lf_\w+)\(([^()]*)\)", (HERE / "test_nulls.c").read_text()
    ):
        given = [one.strip() for one in arguments.split(",")]
        wanted.get(name, set()).difference_update(n for n, one in enumerate(given) if one == "NULL")
    return {name: positions for name, positions in wanted.items() if positions}


def test_each_pointer_of_the_header_is_tested_as_null():
    header = (CSRC / "lstm_fast.h").read_text()
    assert len(pointers_of(header)) > 60
    assert pointers_without_a_test(header) == {}
    more = (
        "int lf_new(int n, const float *x,\n float *const *y);\nsize_t lf_pool_bytes(lf_pool *p);"
    )
    assert pointers_without_a_test(more) == {"lf_new": {1, 2}}  # negative control


def test_a_failing_check_fails_the_program(core, tmp_path):
    """Negative control."""
    directory, compiler, _ = core
    source = directory / "fails.c"
    source.write_text(
        '#include "check.h"\nint main(void) { CHECK(0); return check_failures("x"); }\n'
    )
    program = str(directory / "fails")
    assert run(*compiler, f"-I{HERE}", str(source), "-o", program).returncode == 0
    assert run(program).returncode == 1


def test_a_big_endian_cpu_is_refused(core):
    _, compiler, _ = core
    big = ["-Wno-builtin-macro-redefined", "-U__BYTE_ORDER__"]
    big.append("-D__BYTE_ORDER__=__ORDER_BIG_ENDIAN__")
    built = run(*compiler, *big, "-c", str(CSRC / "stream.c"), "-o", os.devnull)
    assert "cannot be built for a big-endian CPU" in built.stderr


def test_relaxed_arithmetic_does_not_build(core):
    """A build with -ffast-math would break the contract in silence, so there is none."""
    _, compiler, _ = core
    for flag in ("-ffast-math", "-ffinite-math-only"):
        fast = [f for f in compiler if f != "-fno-fast-math"]
        built = run(*fast, flag, "-c", str(CSRC / "stream.c"), "-o", os.devnull)
        assert "cannot be built with -ffast-math" in built.stderr
