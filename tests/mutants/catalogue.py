"""Small mistakes, each with the test that has to notice it. Kept up as the code moves."""

from .catalogue_c import C
from .catalogue_calls_c import CALLS_C
from .catalogue_kit import KIT
from .catalogue_models import PROGRAMS
from .catalogue_onnx import ONNX_PROGRAMS
from .catalogue_plans import PLANS
from .catalogue_programs_c import PROGRAMS_C
from .catalogue_serve import SERVE
from .catalogue_vad import VAD
from .catalogue_whole import WHOLE_MODELS
from .mutant import (
    ERRORS,
    HOSTILE,
    POOL_ERRORS,
    SNAPSHOT_FILES,
    SNAPSHOTS,
    Mutant,
    golden,
)

PYTHON = [
    Mutant(
        "a read-only array is taken for an output, where arrays are converted",
        "lstm_fast/_arguments.py",
        "    if not out.flags.writeable:\n",
        "    if False:\n",
        ERRORS + " -k 'reference and read-only'",
    ),
    Mutant(
        "weights that share memory with the caller's array are kept as they are",
        "lstm_fast/_weights.py",
        "    if np.may_share_memory(value, source) and not _is_frozen(value):\n",
        "    if False:\n",
        "tests/lstm/test_weight_copies.py",
    ),
    Mutant(
        "pools: a session that could not get its state stays open",
        "lstm_fast/model_pool.py",
        "                self.close(left)\n            raise\n",
        "                pass\n            raise\n",
        POOL_ERRORS + "::test_a_session_that_could_not_get_its_state_is_not_left_behind",
    ),
    Mutant(
        "a snapshot's checksum is not compared, in Python",
        "lstm_fast/snapshots.py",
        "    if _sha256(body).digest() != data[-CHECKSUM_BYTES:]:\n",
        "    if False:\n",
        SNAPSHOTS + "::test_every_flipped_bit_and_every_truncation_is_noticed -k reference",
    ),
    Mutant(
        "a snapshot of other weights is restored",
        "lstm_fast/snapshots.py",
        "    if not data.startswith(form.header):\n",
        "    if not data.startswith(MAGIC):\n",
        SNAPSHOTS + "::test_other_weights_do_not_take_it -k reference",
    ),
    Mutant(
        "a snapshot may be as large as it likes",
        "lstm_fast/snapshots.py",
        "    if size > most:\n",
        "    if False:\n",
        SNAPSHOT_FILES + "::test_a_file_is_read_as_far_as_a_snapshot_can_reach -k bytearray",
    ),
    Mutant(
        "an open file is read to its end, wherever that is",
        "lstm_fast/_source.py",
        "file.read(most + 1)",
        "file.read()",
        SNAPSHOT_FILES + "::test_a_file_is_read_as_far_as_a_snapshot_can_reach -k 'open and file'",
    ),
    Mutant(
        "the error for a snapshot shows whatever is in its header",
        "lstm_fast/snapshots.py",
        "[ -z|~]*",
        "[^{}]*",
        HOSTILE + " -k 'dtype and lines'",
    ),
    Mutant(
        "ONNX: f and o change places",
        "lstm_fast/formats/gates.py",
        '"onnx": "iofg"',
        '"onnx": "ifog"',
        "tests/formats/test_onnx.py::test_every_step_is_pytorchs",
    ),
    Mutant(
        "Keras: f and g change places",
        "lstm_fast/formats/gates.py",
        '"keras": "ifgo"',
        '"keras": "igfo"',
        "tests/formats/test_keras.py::test_every_step_is_keras_own",
    ),
    Mutant(
        "TensorFlow 1: f and g change places",
        "lstm_fast/formats/gates.py",
        '"tensorflow1": "igfo"',
        '"tensorflow1": "ifgo"',
        "tests/formats/test_tf1.py::test_every_step_is_tensorflows",
    ),
    Mutant(
        "batches: a sequence that is turned round begins with its padding",
        "lstm_fast/_batches.py",
        "        to[:length] = row[:length][::-1]\n",
        "        to[:length] = row[::-1][:length]\n",
        "tests/lstm/test_batches.py::test_reverse_is_not_forward -k reference",
    ),
    Mutant(
        "batches: an LSTM that runs in reverse runs forward",
        "lstm_fast/_batches.py",
        'backwards = lstm.direction == "reverse" or index % directions == 1',
        "backwards = index % directions == 1",
        "tests/lstm/test_batches.py::test_reverse_is_not_forward -k reference",
    ),
    Mutant(
        "Numba: c = fma(i, g, f c) instead of fma(f, c, i g)",
        "lstm_fast/_backends/_numba_kernels.py",
        "    c = canonical(fma(sigmoid(f), c, sigmoid(i) * tanh(g)))\n",
        "    c = canonical(fma(sigmoid(i), tanh(g), sigmoid(f) * c))\n",
        golden("3x7x2 float32"),
    ),
    Mutant(
        "reference: h = o c instead of o tanh(c)",
        "lstm_fast/reference.py",
        "    c = f * _float64(c) + i * g\n    h = o * np.tanh(c)\n    return h, c\n",
        "    c = f * _float64(c) + i * g\n    h = o * c\n    return h, c\n",
        "tests/lstm/test_agreement.py::test_the_reference_stack_is_the_cell_layer_by_layer",
    ),
]

ALL = [
    *C,
    *CALLS_C,
    *PYTHON,
    *PROGRAMS,
    *PROGRAMS_C,
    *PLANS,
    *ONNX_PROGRAMS,
    *VAD,
    *WHOLE_MODELS,
    *SERVE,
    *KIT,
]
