"""Whole voice activity detectors: what is right passes, each planted mistake is found and named."""

from __future__ import annotations

import shlex
import sys
from functools import cache

import careless_vads as careless
import numpy as np
import pytest
from caught import reproduce
from silero_path import silero_file

from lstm_fast import checks, vad
from lstm_fast.checks import Options, TargetError, adapters
from lstm_fast.checks._vads.explaining import settle
from lstm_fast.checks._vads.mistakes import explain_vad
from lstm_fast.checks._vads.references import VadReference, vad_reference

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

RATES = (16000, 8000)
FEW = Options(drift_steps=100, samples=10, timing_seconds=0.1, runs=2, threads=2, sessions=2)
LOGIC = ["agreement", "determinism", "reset", "isolation", "nan"]


@pytest.fixture(scope="module", params=RATES)
def wanted(request):
    """Silero VAD of each rate."""
    return reference(request.param)


@cache
def reference(rate):
    """Return what VADs of that rate are compared with, read once."""
    file = silero_file("silero_vad.onnx")
    return VadReference(vad.silero(file, sampling_rate=rate), file=file)


def rate_of(wanted):
    return next(rate for rate, size in vad.CHUNKS.items() if size == wanted.own_chunk)


def report(made, wanted, only=LOGIC):
    return checks.run(made, wanted, FEW, only=only)


def named(made):
    """Return which mistakes explain it, and from which step on."""
    wanted = vad_reference(made, reference(made.sampling_rate))
    diagnosis, note = explain_vad(made, wanted, FEW)
    assert len(diagnosis) == 1, note
    assert not diagnosis[0]["same"]
    return diagnosis[0]["mistake"], diagnosis[0]["shows"]


# ---- what is right -------------------------------------------------------------------------------


RIGHT = {
    careless.Vad: LOGIC,
    careless.Bytes: ["agreement"],
    careless.ResetsNothingButMakesNew: ["reset"],
}


@pytest.mark.parametrize("kind", RIGHT, ids=lambda kind: kind.__name__)
def test_what_is_right_passes(kind, wanted):
    found = report(careless.target(kind, rate_of(wanted)), wanted, RIGHT[kind])
    assert found.passed, str(found)
    assert not found.warnings
    if "agreement" in RIGHT[kind]:
        assert found["agreement"].numbers["of_allowed"] < 0.2


def test_all_checks_without_a_reference_that_is_given():
    made = careless.target(careless.Int16)
    found = checks.run(made, options=FEW, skip=["latency", "slow_paths"])
    assert found.passed, str(found)
    skipped = [one.name for one in found.results if one.status == "skipped"]
    assert skipped == ["chunks", "nan"]  # integers hold no NaN


@pytest.mark.parametrize("chunk", [160, 480, 1024])
def test_a_vad_that_collects_chunks_passes(chunk, wanted):
    made = careless.target(careless.Collects, rate_of(wanted), chunk=chunk)
    found = report(made, wanted, ["agreement", "drift"] if chunk == 160 else ["agreement"])
    assert found.passed, str(found)


def test_none_is_the_last_probability_again(wanted):
    class Waits(careless.Collects):
        def __call__(self, chunk):
            before = len(self.rest)
            p = super().__call__(chunk)
            return p if len(self.rest) < before + len(chunk) else None

    assert report(careless.target(Waits, rate_of(wanted), chunk=160), wanted, ["agreement"]).passed


def test_their_own_implementations():
    package = pytest.importorskip("silero_vad")
    pytest.importorskip("torch")
    made = adapters.from_vad(lambda: package.load_silero_vad(onnx=True))
    assert checks.run(made, reference(16000), FEW, only=["agreement"]).passed


def test_a_function_of_whole_recordings(wanted):
    rate, right = rate_of(wanted), careless.target(careless.Vad, rate_of(wanted))

    def over(audio):
        session = right.made()
        return np.array([session(x) for x in audio.reshape(-1, session.size)])

    def overwrites(audio):  # as a context that is a view of the audio does
        audio[-right.made().count :] = 0
        return over(audio)

    for function, warned in ((over, False), (overwrites, True)):
        made = adapters.from_vad(lambda f=function: f, sampling_rate=rate, recordings=True)
        found = report(made, wanted, ["agreement"])
        assert found.passed, str(found)
        assert any("the last chunk of a recording" in text for text in found.warnings) is warned


# ---- mistakes of numbers -------------------------------------------------------------------------

MISTAKES = {
    careless.NoState: ("state_not_carried", 1),
    careless.NoH: ("h_not_carried", 1),
    careless.NoC: ("c_not_carried", 1),
    careless.SwappedState: ("state_swapped", 1),
    careless.NoContext: ("context_missing", 1),
    careless.WrongEnd: ("context_of_the_wrong_end", 1),
    careless.OwnEnd: ("context_of_the_chunk_itself", 0),
    careless.Behind: ("context_behind_the_chunk", 0),
    careless.Reflected: ("context_reflected", 0),
    careless.Backwards: ("context_backwards", 1),
    careless.ChunkAlone: ("context_left_out", 0),
    careless.OneLate: ("one_chunk_late", 0),
    careless.EndZeroed: ("end_zeroed", 0),
    careless.Raw: ("scale:32768", 0),
    careless.Twice: ("scale:1/32768", 0),
    careless.FloatTwice: ("scale:1/32768", 0),
    careless.By65536: ("scale:0.5", 0),
    careless.By3000: ("scale:10.923", 0),  # 32768/3000: by no constant that is known
    careless.EachByItsLoudest: ("scale:loudest_is_1", 0),
    careless.Unsigned: ("samples:unsigned", 0),
    careless.OtherBytes: ("samples:byte_order", 0),
    careless.Nothing: ("context_missing+state_not_carried", 1),
    careless.ChunkAloneAndNoState: ("context_left_out+state_not_carried", 0),
    careless.RawAndNoContext: ("context_missing+scale:32768", 0),
}


AT_BOTH = (
    careless.NoState,
    careless.NoContext,
    careless.WrongEnd,
    careless.ChunkAlone,
    careless.Nothing,
    careless.Raw,
    careless.Twice,
    careless.RawAndNoContext,
)
CASES = [(kind, 16000) for kind in MISTAKES] + [(kind, 8000) for kind in AT_BOTH]


@pytest.mark.parametrize(("kind", "rate"), CASES)
def test_mistakes_are_named(kind, rate):
    mistake, step = MISTAKES[kind]
    found = named(careless.target(kind, rate))
    assert found == (mistake, f"first shows at step {step}")


def test_weights_in_float16_are_named(wanted):
    small = wanted.model.astype("float16")

    class Small:
        def __init__(self):
            self.stream = small.stream()
            self.reset = self.stream.reset

        def __call__(self, chunk):
            return self.stream.step(chunk)

    made = adapters.from_vad(Small, sampling_rate=rate_of(wanted))
    assert named(made)[0] == "weights_in_float16"


OF_SIZES = [  # at which rate, in which chunks
    (careless.OtherCount, 16000, 512, "context:32"),
    (careless.OtherCount, 8000, 256, "context:64"),
    (careless.Vad, 16000, 256, "chunk:256_at_16000"),
    (careless.Vad, 16000, 480, "chunk:480_at_16000"),
    (careless.Vad, 8000, 160, "chunk:160_at_8000"),
    (careless.NewSamplesAsContext, 16000, 576, "context_of_new_samples"),
    (careless.NewSamplesAsContext, 8000, 288, "context_of_new_samples"),
    (careless.FilledUp, 16000, 160, "chunk:filled_up"),
    (careless.FilledUp, 8000, 160, "chunk:filled_up"),
    (careless.OtherRate, 8000, 256, "rate:8000_in_16000"),
    (careless.OfOtherRate, 8000, 256, "rate:8000_in_16000"),
    (careless.OfOtherRate, 8000, 512, "rate:8000_in_16000"),
    (careless.OtherRate, 8000, 512, "rate:8000_in_16000+context:32"),
    (careless.OfOtherRate, 16000, 512, "rate:16000_in_8000"),
    (careless.OfOtherRate, 16000, 256, "rate:16000_in_8000"),
    (careless.OtherRate, 16000, 256, "rate:16000_in_8000+context:64"),
]


@pytest.mark.parametrize(("kind", "rate", "chunk", "mistake"), OF_SIZES)
def test_chunks_and_rates_that_are_wrong_are_named(kind, rate, chunk, mistake):
    assert named(careless.target(kind, rate, chunk=chunk))[0] == mistake


@pytest.mark.parametrize(
    ("kind", "rate", "chunk", "says"),
    [
        (careless.Vad, 8000, 512, "Silero VAD takes 256 at once at that rate"),
        (careless.Vad, 16000, 1536, "Silero VAD takes 512 at once at that rate"),
        (careless.OtherRate, 16000, 512, "a model that is told another rate cannot take so many"),
    ],
)
def test_what_the_model_cannot_take_at_all_is_told(kind, rate, chunk, says):
    with pytest.raises(TargetError, match=says):
        checks.run(careless.target(kind, rate, chunk=chunk), options=FEW)


def test_a_report_has_the_mistake_and_a_reproduction(wanted):
    made = careless.target(careless.NoContext, rate_of(wanted))
    found = report(made, wanted, ["agreement", "reset"])
    result = found["agreement"]
    assert [one.name for one in found.failures] == ["agreement"]
    assert "first shows at step 1" in result.causes()[0]
    with pytest.raises(AssertionError):
        reproduce(result, made)
    reproduce(result, careless.target(careless.Vad, rate_of(wanted)))


def test_32767_is_a_warning_and_not_a_failure(wanted):
    rate = rate_of(wanted)
    found = report(careless.target(careless.By32767, rate), wanted, ["agreement"])
    assert found.passed, str(found)
    assert "integers are divided by 32767, not by 32768" in " ".join(found.warnings)
    made = careless.target(careless.By32767, rate, full_scale=32767)
    said = report(made, wanted, ["agreement"])
    assert said.passed
    assert not said.warnings
    made = careless.target(careless.Int16, rate)  # the control: this one is not
    settle(made, vad_reference(made, wanted), FEW)
    assert (made.full_scale, made.remarks) == (32768, ())


def test_what_is_not_known_is_said_to_be_so(wanted):
    class Squares(careless.Vad):
        def __call__(self, chunk):
            return super().__call__(chunk) ** 2

    result = report(careless.target(Squares, rate_of(wanted)), wanted, ["agreement"])["agreement"]
    assert result.status == "failed"
    assert not result.diagnosis
    assert "nothing known explains it" in result.note


def test_what_comes_nearest_is_told():
    """Beside a mistake, noise that is more than float32's."""

    class Rough(careless.Reflected):
        def __call__(self, chunk):
            return super().__call__(chunk) + 1e-3

    made = careless.target(Rough)
    diagnosis, note = explain_vad(made, vad_reference(made, reference(16000)), FEW)
    assert not diagnosis
    assert "Nearest comes context_reflected (the beginning of the chunk is reflected" in note


# ---- mistakes of sessions ------------------------------------------------------------------------

LEFT_BY_A_RESET = {
    careless.KeepsContext: "context",
    careless.KeepsState: "state",
    careless.KeepsAll: "session",
}


@pytest.mark.parametrize("kind", LEFT_BY_A_RESET, ids=lambda kind: kind.__name__)
def test_what_a_reset_leaves_is_named(kind, wanted):
    found = report(careless.target(kind, rate_of(wanted)), wanted, ["reset", "agreement"])
    assert [one.name for one in found.failures] == ["reset"]
    (one,) = found["reset"].diagnosis
    assert one["mistake"] == f"not_reset:{LEFT_BY_A_RESET[kind]}"
    assert one["shows"] == "first shows at step 0 after a reset"


@pytest.mark.parametrize("part", ["context", "state"])
def test_what_sessions_share_is_named(part, wanted):
    made = careless.target(careless.shared(part), rate_of(wanted))
    found = report(made, wanted, ["isolation", "agreement"])
    assert [one.name for one in found.failures] == ["isolation"]
    (one,) = found["isolation"].diagnosis
    assert one["mistake"] == f"shared:{part}"
    assert one["shows"] == "first shows at step 0 of session 1, of two that take turns"


def test_one_object_for_all_sessions_is_named():
    found = checks.run(
        adapters.from_vad(careless.shared_all()), options=FEW, only=["agreement", "isolation"]
    )
    failed = {one.name: one.diagnosis[0]["mistake"] for one in found.failures}
    assert failed["isolation"] == "shared:session"
    assert set(failed.values()) == {"shared:session"}


# ---- what cannot be a target ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"sampling_rate": 44100}, "Silero VAD takes 16000 or 8000"),
        ({"samples": "int8"}, "expected one of float32, int16, bytes, tensor"),
        ({"chunk": 0}, "expected how many samples it takes at once"),
        ({"full_scale": 32767}, 'full_scale is of samples="int16" or "bytes"'),
        ({"samples": "int16", "full_scale": 100}, "expected 32768 or 32767"),
        ({"recordings": True, "chunk": 100}, "of recordings it has to be 512"),
    ],
)
def test_wrong_arguments_are_refused(options, says):
    with pytest.raises(ValueError, match=says):
        adapters.from_vad(careless.Vad, **options)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (object, "say call=, the name of the method"),
        (lambda: lambda x: [0.1, 0.2], "a chunk returned 2 values, expected one probability"),
        (lambda: lambda x: "speech", "no array of real numbers"),
        (lambda: lambda x: None, "it returned None, and had 512 samples .* is a return missing"),
    ],
)
def test_what_is_no_vad_is_told(make, says):
    with pytest.raises(TargetError, match=says):
        checks.run(adapters.from_vad(make), None, FEW)


def test_a_collector_that_never_answers_is_told():
    session = adapters.from_vad(lambda: lambda x: None, chunk=160).session()
    chunk = np.zeros(160, np.float32)
    for _ in range(9):  # what a collector may take without an answer
        session.step(chunk)
    with pytest.raises(TargetError, match="it returned None, and had 1600 samples"):
        session.step(chunk)


def test_a_reference_for_another_rate_is_refused():
    silero_file("silero_vad.onnx")
    with pytest.raises(ValueError, match=r"expected what vad\.silero\(sampling_rate=8000\)"):
        checks.run(careless.target(careless.Vad, 8000), vad.silero(), FEW)


# ---- from the shell ------------------------------------------------------------------------------

FAST = ["--only", "agreement"]
PROGRAM = """
import json, sys
sys.path[:0] = {path!r}
import numpy as np
import careless_vads
session = careless_vads.{kind}()
for line in sys.stdin:
    asked = json.loads(line)
    answer = {{}}
    if asked["op"] == "info":
        answer = {{"input_size": 512, "sampling_rate": {rate}, "samples": "int16"}}
    elif asked["op"] == "reset":
        session.reset()
    else:
        assert all(isinstance(n, int) for n in asked["x"])
        answer = {{"y": session(np.array(asked["x"], np.int16))}}
    print(json.dumps(answer), flush=True)
"""


def check(*arguments):
    from lstm_fast import cli

    return cli.main(["check", *map(str, arguments)])


def test_a_class_from_the_shell(capsys):
    silero_file("silero_vad.onnx")
    says = ["--sampling-rate", "16000", "--samples", "int16", *FAST]
    assert check("careless_vads:Int16", *says, "--reference", "silero") == 0
    assert "every output within" in " ".join(capsys.readouterr().out.split())
    assert check("careless_vads:Raw", *says) == 1
    out = " ".join(capsys.readouterr().out.split())
    assert "scale:32768" in out
    assert "vad={'sampling_rate': 16000, 'samples': 'int16'}" in out  # to make it again


def program(folder, kind, rate=16000):
    path = folder / "port.py"
    path.write_text(PROGRAM.format(path=sys.path, kind=kind, rate=rate))
    return [sys.executable, str(path)]


def test_a_program_in_any_language(tmp_path):
    silero_file("silero_vad.onnx")
    command = shlex.join(program(tmp_path, "Int16"))
    assert check("--command", command, "--only", "agreement") == 0


def test_a_mistake_of_a_program_is_named(tmp_path):
    reference(16000)
    with adapters.from_command(program(tmp_path, "Twice")) as made:
        assert named(made)[0] == "scale:1/32768"


def test_a_program_for_another_rate_is_told(tmp_path, capsys):
    assert check("--command", shlex.join(program(tmp_path, "Int16", 44100))) == 2
    assert "sampling_rate is 44100, Silero VAD takes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["careless_vads:Vad", "--samples", "int16"], "say --sampling-rate as well"),
        (["model.lfm", "--sampling-rate", "8000"], "takes no --sampling-rate so"),
        (["--command", "true", "--chunk", "8"], "takes no --chunk so"),
    ],
)
def test_options_of_vads_are_refused_elsewhere(arguments, says, capsys):
    assert check(*arguments) == 2
    assert says in capsys.readouterr().err


# ---- frames --------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", RATES)
def test_frames_are_heard_as_speech(rate):
    model, size = reference(rate).model, vad.CHUNKS[rate]
    heard = []
    for seed in range(4):
        frames = checks.speech(24, size, rate, seed)
        assert frames.shape == (24, size)
        assert checks.speech(7, size, rate, seed).tobytes() == frames[:7].tobytes()
        assert (frames * 32768 == np.rint(frames * 32768)).all()
        heard += [float(model.stream().run(frames)[:, 0].max())]
    assert min(heard) > 0.6
    noise = np.random.default_rng(0).standard_normal((24, size)).astype(np.float32) / 16
    assert model.stream().run(noise).max() < 0.5  # the control
    loud = checks.speech(24, size, rate, gain=100, full_scale=32767)
    assert loud.max() == 1.0
