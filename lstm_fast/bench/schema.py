"""What `lstm-fast bench --json` writes: one `Report`. The types below are the documentation.

Times are in microseconds and sizes in bytes unless the name says otherwise; null stands for what
was not measured. SCHEMA changes when a key goes or changes its meaning; new keys don't change it,
so readers must ignore keys that they don't know, and take those that are missing in older reports,
all of which may be null, for null.
"""

from __future__ import annotations

import types
from typing import Any, TypedDict, get_args, get_origin, get_type_hints, is_typeddict

from . import CannotRunError

SCHEMA = "lstm_fast.bench/1"


class Machine(TypedDict):
    """Where it ran."""

    cpu: str  # model name
    architecture: str  # "x86_64", "aarch64"
    cpus: int  # logical CPUs that this process may use
    virtual: bool  # inside a virtual machine
    caches: dict[str, int]  # {"L1d": 49152, ...}, of one CPU; shared ones in full
    features: list[str]  # of the CPU, those that kernels like ours use
    os: str
    python: str
    packages: dict[str, str]  # versions of what took part: lstm_fast, numpy, cffi, peers


class Settings(TypedDict):
    """What was asked for."""

    seconds: float  # measuring time of one row
    modes: list[str]
    pinned_cpu: int | None  # the one CPU it ran on; null where pinning is impossible
    sweep_bytes: int  # what is read between two steps of the mode "cold"
    clock_ns: float  # what reading the clock takes; subtracted from every time


class Noise(TypedDict):
    """How steady the machine was: a fixed piece of work, timed all along the run."""

    spin_us: float  # its median time
    spread: float  # (90th - 10th percentile) / median of medians of 50: how its clock moved
    stolen: float  # share of the time that interrupts and neighbours took
    too_noisy: bool  # either above timing.TOO_NOISY: small differences mean nothing


class Limit(TypedDict):
    """What the machine can do at best, with the instructions of one ISA, on one CPU."""

    isa: str
    read_gb_per_s: dict[
        str, float
    ]  # {working set in bytes: 1e9 bytes per second}, read over and over
    gfma_per_s: float  # 1e9 float32 multiply-adds per second, independent, no memory


class Row(TypedDict):
    """One contender at one shape in one mode."""

    shape: str  # a name, or ""; of a whole model, or of its file
    input_size: int  # of a whole model the values that a step takes
    hidden_size: int  # and returns
    num_layers: int  # 0 of a whole model
    contender: str  # "native:avx2", "numba", "onnxruntime", ...
    weights: str  # "float32", "float16", "int8"
    # "hot"; "cold": caches swept before each step; "prepared": after an untimed prepare; "pool64":
    # a pool steps its 64 streams in a call (peers: a batch); "half64": a random half of them
    mode: str
    # largest distance from the float64 reference in the check before the timing; of peers with
    # models of their own how far these are from ours
    error: float
    steps: int  # how many steps were timed, one by one or, in a pool, those of one call together
    p50: float  # per step of one stream
    p90: float | None  # null below 10 times that were taken
    p99: float | None  # below 100
    p999: float | None  # below 1000
    max: float
    # interquartile range of the medians of blocks, over their median; null below 4 blocks
    noise: float | None
    # Sessions that one core carries: how long a frame lasts over p50. That is 16 ms of an LSTM, 32
    # of Silero VAD, and unknown of other models; null for "prepared", too, since prepare() has its
    # price.
    streams: float | None
    multiply_adds: int | None  # of a step, in the sums
    # The rest: ours in mode "hot", otherwise null; rates and fma_fraction of pools, too, from p50.
    kernel: float | None  # per step of run() over many frames, so without Python's part
    kernel_noise: float | None
    overhead: float | None  # p50 - kernel: Python's part
    gflop_per_s: float | None  # 2 x multiply_adds / kernel
    bytes_per_step: int | None  # packed weights
    # bytes_per_step / kernel over the Limit at that working set; above 1 the limit was not found
    read_fraction: float | None
    fma_fraction: float | None  # the same of gfma_per_s; null for int8, which does no fmas


class Report(TypedDict):
    """One run."""

    schema: str  # SCHEMA
    created: str  # ISO 8601, UTC
    machine: Machine
    settings: Settings
    noise: Noise
    limits: list[Limit]
    rows: list[Row]


def check(value: Any, kind: Any = Report, where: str = "report") -> None:
    """Check that a value read from JSON has the structure of that type.

    Raises:
        CannotRunError: it has not; the message names the place.
    """
    if is_typeddict(kind):
        _expect(isinstance(value, dict), where, "an object")
        for key, part in get_type_hints(kind).items():
            may_be_null = get_origin(part) is types.UnionType
            _expect(key in value or may_be_null, where, f"an object with the key {key!r}")
            check(value.get(key), part, f"{where}.{key}")
    elif get_origin(kind) is list:
        _expect(isinstance(value, list), where, "a list")
        for index, item in enumerate(value):
            check(item, get_args(kind)[0], f"{where}[{index}]")
    elif get_origin(kind) is dict:
        _expect(isinstance(value, dict), where, "an object")
        for key, item in value.items():
            check(item, get_args(kind)[1], f"{where}.{key}")
    elif get_origin(kind) is types.UnionType:  # only ever: something or None
        if value is not None:
            check(value, get_args(kind)[0], where)
    else:
        wanted = (int, float) if kind is float else kind
        right = isinstance(value, wanted) and (kind is bool or not isinstance(value, bool))
        _expect(right, where, kind.__name__)
    if kind is Report:
        _expect(value["schema"] == SCHEMA, f"{where}.schema", repr(SCHEMA))


def _expect(condition: bool, where: str, what: str) -> None:
    if not condition:
        raise CannotRunError(
            f"not a report of lstm-fast bench that this version reads: {where} should be {what}"
        )
