"""The command line and the benchmark do what they say. Nothing here depends on how fast it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

import lstm_fast
from lstm_fast import cli
from lstm_fast.bench import (
    CannotRunError,
    compare,
    contenders,
    limits,
    lstms,
    peers,
    schema,
    shapes,
    suite,
    table,
    timing,
)

QUICK = ["bench", "--shapes", "4x8", "--seconds", "0.002"]
SHAPE = shapes.Shape("", 4, 8)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """What a short run writes, and where."""
    path = tmp_path_factory.mktemp("bench") / "report.json"
    assert cli.main([*QUICK, "--json", str(path)]) == 0
    return path, json.loads(path.read_text())


def line_of_error(capsys, *arguments):
    """Run, expect exit code 2 and nothing but one line on stderr, and return that line."""
    try:
        code = cli.main(arguments)
    except SystemExit as stop:
        code = stop.code
    out, err = capsys.readouterr()
    assert code == 2
    assert out == ""
    assert err.count("\n") == 1
    return err


def test_a_report_follows_the_schema_and_covers_what_was_asked(report):
    _, value = report
    schema.check(value)
    rows = {(row["weights"], row["mode"]) for row in value["rows"]}
    assert rows >= {(w, m) for w in ("float32", "float16", "int8") for m in ("hot", "cold")}
    for row in value["rows"]:
        assert (row["input_size"], row["hidden_size"], row["num_layers"]) == SHAPE[1:]
        known = [row[name] for name in ("p50", "p90", "p99", "p999", "max") if row[name]]
        assert 0 < known[0] == row["p50"]
        assert known == sorted(known)
        assert row["error"] <= contenders.TOLERANCES[row["weights"]]
        assert (row["kernel"] is not None) == (row["mode"] == "hot")
    assert value["machine"]["packages"]["lstm_fast"] == lstm_fast.__version__


@pytest.mark.parametrize(
    "spoil",
    [
        lambda value: value.pop("rows"),
        lambda value: value.update(schema="lstm_fast.bench/0"),
        lambda value: value["rows"][0].update(p50="fast"),
        lambda value: value["rows"][0].update(steps=True),
        lambda value: value["noise"].pop("spread"),
        lambda value: value["machine"].update(caches=[1]),
    ],
)
def test_what_does_not_follow_the_schema_is_refused(report, spoil):
    value = json.loads(json.dumps(report[1]))
    spoil(value)
    with pytest.raises(CannotRunError, match=r"should be"):
        schema.check(value)


def test_unknown_keys_are_left_alone(report):
    schema.check(report[1] | {"later": 1})


def test_the_table_shows_every_row(report):
    text = table.text(report[1])
    assert all(row["contender"] in text for row in report[1]["rows"])
    assert text.count(" hot ") >= 3


def test_what_few_steps_cannot_tell_is_left_open():
    """The 99th percentile of 12 times is the largest of them, and one block has no noise."""
    for count, known in ((1, 0), (9, 0), (10, 1), (99, 1), (100, 2), (999, 2), (1000, 3)):
        blocks = [np.arange(1, count + 1)]
        took = timing._summary(timing.Action(lambda: None, blocks=blocks), 0.0)
        told = [p for p in (took.p90, took.p99, took.p999) if p is not None]
        assert len(told) == known
        assert all(p < took.max for p in told)
        assert took.noise is None
    four = timing.Action(lambda: None, blocks=[np.array([n]) for n in (100, 110, 120, 130)])
    assert timing._summary(four, 0.0).noise == pytest.approx(0.015 / 0.115)


def test_however_long_a_step_takes_it_is_taken_more_than_once():
    calls = []
    took = timing.interleave([timing.Action(lambda: calls.append(time.sleep(0.002)))], 0.001)[0]
    assert took.steps >= timing.FEWEST_BLOCKS
    assert took.noise is not None


class SlowCounter:
    """A clock that is read in 20 ns and ticks every 125/3 ns, as on Apple's CPUs."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 20 + 1e-3  # or the phase would stay the same
        return int(self.now * 24e6 // 1e9) * 125 // 3

    def wait(self, ns):
        self.now += ns


def test_a_slow_counter_does_not_shorten_what_is_short(monkeypatch):
    clock = SlowCounter()
    monkeypatch.setattr(limits.time, "perf_counter_ns", clock)
    monkeypatch.setattr(limits, "REPEATS", 5)
    for ns in range(10, 200, 9):  # some of which seem to take no time, or half of it
        assert limits._best_time(lambda ns=ns: clock.wait(ns)) * 1e9 == pytest.approx(ns, rel=2e-3)


def test_the_cost_of_a_slow_counter_is_taken_off_on_average(monkeypatch):
    monkeypatch.setattr(timing, "clock", SlowCounter())
    assert timing.clock_cost_ns() == pytest.approx(20, rel=0.1)


def test_what_is_left_open_is_a_dash(report):
    row = report[1]["rows"][0] | {"p90": None, "p99": None, "p999": None, "noise": None}
    value = report[1] | {"rows": [row]}
    schema.check(value)
    line = next(line for line in table.text(value).splitlines() if f" {row['mode']} " in line)
    assert line.split()[4:7] == ["-", "-", "-"]
    assert line.split()[8] == "-"
    assert compare.verdict(row, row | {"p50": row["p50"] / 9})[1] == ""  # noise is not known


LIMIT = 4 * 8 * (4 + 8) * 4 / 1e-6 * 1e-9  # GB/s, where 4 -> 8 takes 1 us


@pytest.mark.parametrize(
    ("measured", "share", "shown"),
    [
        ([2 * LIMIT], 0.5, " 50%"),
        ([LIMIT / 2, LIMIT / 4, LIMIT / 3], 2.0, ">100%"),  # not found, and said
        ([LIMIT / 2, 2 * LIMIT], 0.5, " 50%"),  # found at the second look
    ],
)
def test_a_read_limit_that_was_not_found_is_said(report, monkeypatch, measured, share, shown):
    looks = iter(measured)
    monkeypatch.setattr(suite.limits, "read_gb_per_s", lambda isa, size: next(looks))
    bench = suite.Bench(0.1)
    bench._read["avx2"] = {}
    row = report[1]["rows"][0] | {"read_fraction": None, "fma_fraction": None, "gflop_per_s": 1.0}
    bench._against_reads(row, "avx2", 4 * 8 * (4 + 8) * 4, 1.0)
    assert next(looks, None) is None  # no further look than needed
    bench.hold_against_limits()
    assert row["read_fraction"] == pytest.approx(share)
    text = table.text(report[1] | {"rows": [row]})
    assert shown in text
    assert ("the limit was not found" in text) == (share > 1)


def test_reading_to_and_fro_is_one_of_the_ways_to_the_limit(monkeypatch):
    """A cache that keeps what was read last: from the beginning each time it keeps nothing."""
    if not lstm_fast.available()[0].startswith("native"):
        pytest.skip("the native core is not built")
    kept, now = [], [0.0]

    def read(isa, values):
        address, missed = values.ctypes.data, 0
        for part in range(address, address + values.nbytes, 1 << 14):
            if part in kept:
                kept.remove(part)
            else:
                missed += 1
            kept.append(part)
            del kept[:-64]  # 64 parts of 16 KiB, of the 96 that are read
        now[0] += values.nbytes / 100e9 + missed * (1 << 14) / 10e9  # seconds

    monkeypatch.setattr(limits._backends.load("native"), "probe_read", read)
    monkeypatch.setattr(limits.time, "perf_counter_ns", lambda: now[0] * 1e9)
    monkeypatch.setattr(limits, "REPEATS", 5)
    monkeypatch.setattr(limits, "PLACES", 1)
    size = 96 << 14
    ascending = limits._rate("avx2", [limits._buffer(size // 4)], 1)
    found = limits.read_gb_per_s("avx2", size)
    assert ascending == pytest.approx(1 / (1 / 100 + 1 / 10), rel=0.05)  # all of it missed
    # of 8 pieces of 12 parts the 5 that fit into 64 are found again
    assert found == pytest.approx(1 / (1 / 100 + 36 / 96 / 10), rel=0.05)


def test_pools_are_measured_per_stream(tmp_path, capsys):
    path = tmp_path / "pools.json"
    picture = tmp_path / "pools.png"
    arguments = [*QUICK, "--modes", "hot,pool3,half6", "--json", str(path)]
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        assert cli.main(arguments) == 0
    else:
        assert cli.main([*arguments, "--plot", str(picture)]) == 0
        assert picture.read_bytes().startswith(b"\x89PNG")
    value = json.loads(path.read_text())
    schema.check(value)
    by_mode = {row["mode"]: row for row in value["rows"] if row["weights"] == "float32"}
    assert list(by_mode) == ["hot", "pool3", "half6"]
    for mode in ("pool3", "half6"):
        assert by_mode[mode]["steps"] % 3 == 0
        assert by_mode[mode]["kernel"] is None
        assert by_mode[mode]["gflop_per_s"] > 0
    assert " pool3 " in capsys.readouterr().out


def test_a_pool_that_computes_something_else_is_not_timed(monkeypatch):
    contender = contenders.our_pool(SHAPE, "reference", None, "float32", 5, 5)
    contenders.check(contender, lstms.OneLSTM(SHAPE))

    def spoiled(n):
        (h,) = contender.outputs()
        return [h + 0.5 * np.eye(5)[:, n, None]]

    for wrong in (0, 2, 4):  # the edges and the middle are looked at
        with pytest.raises(CannotRunError, match="is wrong, so it is not timed"):
            contenders.check(
                replace(contender, outputs=lambda n=wrong: spoiled(n)), lstms.OneLSTM(SHAPE)
            )


def test_modes_of_pools():
    assert shapes.pool_sizes("pool64") == (64, 64)
    assert shapes.pool_sizes("half2048") == (1024, 2048)
    assert suite.parse_modes("hot,pools,pool8")[:2] == ("hot", "pool1")
    for wrong in ("pool", "pool0", "half-4", "poolx", "half"):
        with pytest.raises(CannotRunError, match="pool<N>"):
            suite.parse_modes(wrong)


def test_the_affinity_is_what_it_was_before(capsys):
    if not hasattr(os, "sched_getaffinity"):
        pytest.skip("this system has no affinities")
    before = os.sched_getaffinity(0)
    assert cli.main([*QUICK, "--modes", "hot", "--weights", "float32"]) == 0
    assert os.sched_getaffinity(0) == before


def test_compare_finds_every_row_again(report, capsys):
    path, value = report
    arguments = [*QUICK, "--compare", str(path)]
    assert cli.main(arguments) == 0
    assert f"{len(value['rows'])} rows in both" in capsys.readouterr().out


def test_compare_says_when_cold_was_another_cold(report):
    value = report[1]
    milder = value | {"settings": value["settings"] | {"sweep_bytes": 64 << 20}}
    assert "ANOTHER COLD: that read 64 MiB" in compare.text(milder, value)
    assert "ANOTHER COLD" not in compare.text(value, value)


def test_compare_tells_changes_from_noise(report):
    row = report[1]["rows"][0] | {"noise": 0.02, "p50": 1.0}
    assert compare.verdict(row, row | {"p50": 0.5}) == (2.0, "faster")
    assert compare.verdict(row, row | {"p50": 2.0}) == (0.5, "slower")
    assert compare.verdict(row, row | {"p50": 1.05})[1] == ""
    assert compare.verdict(row, row | {"p50": 0.5}, floor=1.5)[1] == ""


def test_a_picture_is_drawn(report, tmp_path):
    pytest.importorskip("matplotlib")
    from lstm_fast.bench import plot

    plot.draw(report[1], tmp_path / "bench.png")
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "COMMAND"),
        (["fly"], "fly"),
        ([*QUICK, "--shapes", "4by8"], "INPUTxHIDDEN"),
        ([*QUICK, "--shapes", "0x8"], "'0x8'"),
        ([*QUICK, "--weights", "int4"], "float16"),
        ([*QUICK, "--modes", "tepid"], "hot, cold"),
        ([*QUICK, "--backends", "cuda"], "reference"),
        ([*QUICK, "--backends", "reference", "--isas", "scalar"], "native backend"),
        ([*QUICK, "--peers", "keras"], "onnxruntime"),
        ([*QUICK, "--seconds", "soon"], "'soon'"),
        ([*QUICK, "--seconds", "nan"], "'nan'"),
        ([*QUICK, "--compare", "no/such.json"], "no/such.json"),
        ([*QUICK, "--json", "no/such/place.json"], "no/such/place.json"),
        ([*QUICK, "--plot", "no/such/place.png"], "no/such/place.png"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(capsys, arguments, says):
    assert says in line_of_error(capsys, *arguments)


def test_an_unknown_isa_is_refused(capsys):
    if not lstm_fast.available()[0].startswith("native"):
        pytest.skip("the native core is not built")
    assert "choose from" in line_of_error(capsys, *QUICK, "--isas", "mmx")


def test_a_missing_peer_says_what_to_install(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert "pip install torch" in line_of_error(capsys, *QUICK, "--peers", "torch")


def test_a_missing_matplotlib_says_what_to_install(capsys, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    plot = str(tmp_path / "x.png")
    assert "pip install 'matplotlib>=" in line_of_error(capsys, *QUICK, "--plot", plot)


def contender(**changes):
    return replace(contenders.ours(SHAPE, "reference", None, "float32"), **changes)


def test_a_right_contender_passes_the_check():
    assert contenders.check(contender(), lstms.OneLSTM(SHAPE)) < 1e-5


@pytest.mark.parametrize("dtype", contenders.TOLERANCES)
@pytest.mark.parametrize("shape", shapes.TABLE[:5], ids=lambda shape: shape.name)
@pytest.mark.parametrize("mistake", ["gates", "bias", "state", "frame", "nan"])
def test_a_wrong_contender_is_refused(dtype, shape, mistake):
    weights = contenders.state_dict(shape)
    wrong = dict(weights)
    if mistake == "gates":
        wrong = {name: peers.reordered(value, "iofg") for name, value in weights.items()}
    if mistake == "bias":
        wrong = {name: value * ("bias" not in name) for name, value in weights.items()}
    stream = lstm_fast.LSTM.from_state_dict(wrong, backend="reference").stream()
    x, y = (np.zeros((1, size), np.float32) for size in (shape.input_size, shape.hidden_size))
    stale = x.copy()

    def step():
        if mistake == "state":
            stream.reset()
        stream.step((stale if mistake == "frame" else x)[0], out=y[0])
        if mistake == "nan":
            y[0, 0] = np.nan

    made = contenders.Contender("wrong", dtype, [x], step, lambda: [y])
    with pytest.raises(CannotRunError, match="not timed"):
        contenders.check(made, lstms.OneLSTM(shape))


def test_a_wrong_contender_is_never_timed(monkeypatch, capsys):
    wrong = contender(outputs=lambda: [np.ones((1, 8), np.float32)])
    monkeypatch.setattr(contenders, "ours", lambda *_: wrong)
    monkeypatch.setattr(suite, "interleave", lambda *_: pytest.fail("was timed"))
    assert "is wrong" in line_of_error(capsys, *QUICK)


@pytest.mark.parametrize("name", peers.NAMES)
@pytest.mark.parametrize("sizes", [(4, 8, 1), (3, 5, 3)])
def test_peers_compute_the_same(name, sizes):
    for package in peers.PACKAGES[name]:
        pytest.importorskip(package)
    subject = lstms.OneLSTM(shapes.Shape("", *sizes))
    for count in (1, 5):
        (peer,) = subject.peers(name, count)
        assert contenders.check(peer, subject) < 1e-5


def test_info_prints(capsys):
    assert cli.main(["info"]) == 0
    text = capsys.readouterr().out
    assert lstm_fast.__version__ in text
    assert "reference" in text
    assert cli.main(["info", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {"machine", "isas", "backends", "chosen"}


def test_info_says_why(capsys, monkeypatch):
    monkeypatch.setenv("LSTM_FAST_BACKEND", "reference")
    cli.main(["info"])
    assert "set by LSTM_FAST_BACKEND=reference" in capsys.readouterr().out
    monkeypatch.setenv("LSTM_FAST_BACKEND", "abacus")
    cli.main(["info"])
    assert "abacus" in capsys.readouterr().out


def test_runs_as_a_module():
    command = [sys.executable, "-m", "lstm_fast", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"lstm-fast {lstm_fast.__version__}\n"


def test_import_leaves_all_this_out():
    code = "import sys, lstm_fast; print([m for m in sys.modules if 'lstm_fast' in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "lstm_fast.stream" in done.stdout
    assert "bench" not in done.stdout
    assert "cli" not in done.stdout
