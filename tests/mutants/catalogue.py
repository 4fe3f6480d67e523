"""Small mistakes, each with the test that has to notice it. Kept up as the code moves.

`before` stands exactly once in the file. C mistakes are built with the scalar kernels alone, so
those of an instruction set have no place here.
"""

from __future__ import annotations

from typing import NamedTuple

QUICK = "tests/c/test_c_core.py::test_core_quickly"
GOLDEN = "tests/backends/test_golden_bits.py"
HYGIENE = "tests/streams/test_state_hygiene.py"
STREAMS = "tests/streams/test_streams.py"
SNAPSHOTS = "tests/streams/test_snapshots.py"
POOL_ERRORS = "tests/pools/test_pool_errors.py"


class Mutant(NamedTuple):
    """One mistake: in which file, what becomes what, and which test dies of it."""

    file: str
    before: str
    after: str
    killer: str


C = [
    # ---- state ----
    Mutant(
        "csrc/stream.c",
        "memset(h, 0, h_floats(model) * sizeof(float)); /* the padding",
        "/* the padding",
        HYGIENE,
    ),
    Mutant(
        "csrc/stream.c",
        "    model->isa->canonicalise_f32(c, c_floats(model));\n",
        "",
        GOLDEN,
    ),
    Mutant(
        "csrc/stream.c",
        "memcpy(c, model->start + h_floats(model), c_bytes);",
        "memcpy(c, model->start, c_bytes);",
        GOLDEN,
    ),
    Mutant(
        "csrc/stream.c",
        "lf_state_write(stream->model, stream->h, stream->c, h, c);\n    stream->prepared = 0;",
        "lf_state_write(stream->model, stream->h, stream->c, h, c);",
        STREAMS,
    ),
    Mutant(
        "csrc/stream.c",
        "lf_state_start(stream->model, stream->h, stream->c);\n    stream->prepared = 0;",
        "lf_state_start(stream->model, stream->h, stream->c);",
        STREAMS,
    ),
    Mutant(
        "csrc/stream.c",
        "    target->prepared = 0;\n",
        "",
        QUICK,
    ),
    Mutant(
        "csrc/stream.c",
        "    if (target->model != source->model)\n        return LF_ERR_MODEL;\n",
        "",
        QUICK,
    ),
    Mutant("csrc/stream.c", "    stream->h_next = h;\n", "", GOLDEN),
    # ---- one caller at a time, overlaps ----
    Mutant(
        "csrc/stream.c",
        "    lf_status status = enter(source, LOOKS);\n    if (status != LF_OK)\n",
        "    lf_status status = enter(source, LOOKS);\n    if (status != LF_OK && 0)\n",
        QUICK,
    ),
    Mutant(
        "csrc/stream.c",
        "        leave(source);\n        return status;\n",
        "        return status;\n",
        QUICK,
    ),
    Mutant(
        "csrc/internal.h",
        "return p < q + b_bytes && q < p + a_bytes;",
        "return p < q + b_bytes && q + b_bytes <= p + a_bytes;",
        QUICK,
    ),
    # ---- what a model refuses ----
    Mutant(
        "csrc/model.c",
        "row < rows; row++)\n        if (!isfinite(lf_bias(layer, row)))",
        "row + 1 < rows; row++)\n        if (!isfinite(lf_bias(layer, row)))",
        QUICK,
    ),
    Mutant(
        "csrc/model.c",
        "        status = check_layer(&layers[l], inputs, hidden_size, proj_size);",
        "        status = l ? LF_OK : check_layer(&layers[l], inputs, hidden_size, proj_size);",
        QUICK,
    ),
    Mutant(
        "csrc/model.c",
        "                   all_fit_float16(layer->weight_hr, proj_size * hidden_size)\n",
        "                   1\n",
        QUICK,
    ),
    Mutant(
        "csrc/model.c",
        "    if (type == LF_INT8 && (input_size > largest_sum || outputs > largest_sum ||",
        "    if (type == LF_INT8 && (input_size > 2 * largest_sum || outputs > 2 * largest_sum ||",
        "tests/lstm/test_errors.py",
    ),
    Mutant(
        "csrc/variants.c",
        "                   is_finite(weights->peephole, 3 * hidden_size) &&\n",
        "",
        QUICK,
    ),
    # ---- packing ----
    Mutant(
        "csrc/pack.c",
        "(layer->bias_hh ? layer->bias_hh[row] : 0.0f);",
        "0.0f;",
        GOLDEN,
    ),
    Mutant(
        "csrc/pack.c",
        "return largest < 0x1p-100f ? 0 : largest / 127.0f;",
        "return largest < 0x1p-100f ? 0 : largest / 128.0f;",
        GOLDEN,
    ),
    Mutant(
        "csrc/pack.c",
        "(uint32_t)nearbyintf(ldexpf(magnitude, shift));",
        "(uint32_t)truncf(ldexpf(magnitude, shift));",
        GOLDEN,
    ),
    Mutant(
        "csrc/pack.c",
        "(int)nearbyintf(row[k] / scale)",
        "(int)roundf(row[k] / scale + 1e-3f)",
        GOLDEN,
    ),
    # ---- arithmetic ----
    Mutant(
        "csrc/generic/kernels.h",
        "h->scale = lf_any_spoiled(pass->h, outputs) ? NAN : 1.0f;",
        "h->scale = 1.0f;",
        HYGIENE,
    ),
    Mutant(
        "csrc/generic/kernels.h",
        "        if (h->scale != h->scale)\n            x->scale = NAN;\n",
        "",
        HYGIENE,
    ),
    Mutant(
        "csrc/generic/kernels.h",
        "    if (x_is_odd)\n        canonicalise_f32(x, lf_round_up(count, LF_LANES));\n",
        "    (void)x_is_odd;\n",
        GOLDEN,
    ),
    Mutant(
        "csrc/generic/epilogue.h",
        "    if (c_is_odd)\n        canonicalise_f32(c, count);\n",
        "    (void)c_is_odd;\n",
        STREAMS,
    ),
    Mutant(
        "csrc/generic/epilogue.h",
        "*c = vf_fma(f, *c, vf_mul(i, g));",
        "*c = vf_fma(i, g, vf_mul(f, *c));",
        GOLDEN,
    ),
    Mutant(
        "csrc/generic/panels.h",
        "sum[j] = kept ? vf_load(kept + j * LF_LANES) : vf_set1(0.0f);",
        "sum[j] = kept ? vf_load(kept + j * LF_LANES) : sum[j];",
        GOLDEN,
    ),
    Mutant(
        "csrc/generic/activations.h",
        ".tanh_q4 = 0x1.6bec04p-5f,",
        ".tanh_q4 = 0x1.6bec06p-5f,",
        GOLDEN,
    ),
    Mutant(
        "csrc/generic/activations.h",
        "return vf_copysign(magnitude, x);",
        "return vf_copysign(magnitude, vf_add(x, vf_set1(0.0f)));",
        "tests/backends/test_activations.py",
    ),
    Mutant(
        "csrc/generic/quantise.h",
        "lowest = vf_set1(-127.0f), highest = vf_set1(127.0f)",
        "lowest = vf_set1(-128.0f), highest = vf_set1(127.0f)",
        GOLDEN,
    ),
    # ---- variants ----
    Mutant(
        "csrc/generic/variant.h",
        "enum { LF_NORM_CHAINS = 16 };",
        "enum { LF_NORM_CHAINS = 8 };",
        GOLDEN,
    ),
    Mutant(
        "csrc/generic/variant.h",
        "    if (cell->coupling == LF_INPUT_FROM_FORGET)\n        lf_one_minus(i, f, padded);",
        "    if (cell->coupling == LF_INPUT_FROM_FORGET)\n        lf_one_minus(f, i, padded);",
        GOLDEN,
    ),
    Mutant(
        "csrc/generic/variant.h",
        "        if (bound > 0)\n            h = lf_clip(h, bound);\n",
        "",
        GOLDEN,
    ),
    Mutant(
        "csrc/generic/variant.h",
        "        if (cell->cell_clip > 0)\n",
        "        if (cell->clip > 0)\n",
        GOLDEN,
    ),
    Mutant(
        "csrc/generic/variant.h",
        "lf_add_peephole(o, variant->peephole + 2 * padded, c, padded);",
        "lf_add_peephole(o, variant->peephole + padded, c, padded);",
        GOLDEN,
    ),
    Mutant(
        "csrc/generic/variant.h",
        "a = vf_select(vf_less(a, low), low, a); /* a NaN is not less, and stays */",
        "a = vf_max(low, a);",
        "tests/variants/test_variant_bits.py",
    ),
    # ---- pools ----
    Mutant(
        "csrc/pool.c",
        "        return status;\n    zero(pool, slot);\n    atomic_store_explicit(&slot->handle, 0",
        "        return status;\n    atomic_store_explicit(&slot->handle, 0",
        QUICK,
    ),
    Mutant(
        "csrc/pool_calls.c",
        "        if (lengths[n] > steps) {",
        "        if (lengths[n] > steps + 1) {",
        QUICK,
    ),
    Mutant(
        "csrc/pool.c",
        "return found == owner ? LF_ERR_REPEATED : LF_ERR_BUSY;",
        "return LF_ERR_BUSY;",
        POOL_ERRORS,
    ),
    Mutant(
        "csrc/pool.c",
        "            release_many(pool, claims->first, n);\n",
        "",
        POOL_ERRORS,
    ),
    Mutant(
        "csrc/pool.c",
        "    lf_pool_drop(pool, slot);\n    lf_state_write(",
        "    lf_state_write(",
        "tests/pools/test_pool_sessions.py",
    ),
    Mutant(
        "csrc/pool_pass.c",
        "                memset(frames->ys + (n * frames->steps + t) * P, 0,\n"
        "                       (frames->end - t) * P * sizeof(float));\n",
        "",
        "tests/pools/test_pool.py",
    ),
    Mutant(
        "csrc/pool_pass.c",
        "memcpy(work->h_rows[0], pass.h_out, model->padded_output * sizeof(float));",
        "memcpy(work->h_rows[0], pass.h_out, model->output_size / 2 * sizeof(float));",
        "tests/pools/test_pool.py",
    ),
    Mutant(
        "csrc/pool_memory.c",
        "                memcpy(room.states, old.states, old_bytes);\n",
        "",
        QUICK,
    ),
    # ---- snapshots, dispatch, Python's short way ----
    Mutant(
        "csrc/snapshot.c",
        "    if (memcmp(digest, in + size - LF_SHA256_BYTES, sizeof digest) != 0)\n"
        "        return LF_ERR_SNAPSHOT;\n",
        "",
        QUICK,
    ),
    Mutant(
        "csrc/dispatch.c",
        "        if (name)\n            return LF_ERR_ISA_ABSENT;\n",
        "",
        "tests/backends/test_backends.py",
    ),
    Mutant(
        "csrc/python/step.c",
        "    Py_DECREF(y);\n    return step_the_long_way(self, arguments, count, names);",
        "    return step_the_long_way(self, arguments, count, names);",
        HYGIENE,
    ),
    Mutant(
        "csrc/python/step.c",
        "PyArray_IS_C_CONTIGUOUS(array) && (!writable || PyArray_ISWRITEABLE(array));",
        "PyArray_IS_C_CONTIGUOUS(array);",
        "tests/lstm/test_errors.py",
    ),
]

PYTHON = [
    Mutant(
        "lstm_fast/_arguments.py",
        "    if not out.flags.writeable:\n",
        "    if False:\n",
        "tests/lstm/test_errors.py",
    ),
    Mutant(
        "lstm_fast/_weights.py",
        "    if np.may_share_memory(value, source):\n",
        "    if False:\n",
        "tests/lstm/test_weight_copies.py",
    ),
    Mutant(
        "lstm_fast/pool.py",
        "                self.close(left)\n            raise\n",
        "                pass\n            raise\n",
        POOL_ERRORS,
    ),
    Mutant(
        "lstm_fast/snapshots.py",
        "    if _sha256(body).digest() != checksum:\n",
        "    if False:\n",
        SNAPSHOTS,
    ),
    Mutant(
        "lstm_fast/snapshots.py",
        '    if header["fingerprint"] != lstm.fingerprint:\n',
        "    if False:\n",
        SNAPSHOTS,
    ),
    Mutant(
        "lstm_fast/formats/gates.py",
        '"onnx": "iofg"',
        '"onnx": "ifog"',
        "tests/formats/test_onnx.py",
    ),
    Mutant(
        "lstm_fast/formats/gates.py",
        '"keras": "ifgo"',
        '"keras": "igfo"',
        "tests/formats/test_keras.py",
    ),
    Mutant(
        "lstm_fast/formats/gates.py",
        '"tensorflow1": "igfo"',
        '"tensorflow1": "ifgo"',
        "tests/formats/test_tf1.py",
    ),
    Mutant(
        "lstm_fast/_batches.py",
        "        to[:length] = row[:length][::-1]\n",
        "        to[:length] = row[::-1][:length]\n",
        "tests/lstm/test_batches.py",
    ),
    Mutant(
        "lstm_fast/_batches.py",
        'backwards = lstm.direction == "reverse" or index % directions == 1',
        "backwards = index % directions == 1",
        "tests/lstm/test_batches.py",
    ),
    Mutant(
        "lstm_fast/_backends/_numba_kernels.py",
        "    c = canonical(fma(sigmoid(f), c, sigmoid(i) * tanh(g)))\n",
        "    c = canonical(fma(sigmoid(i), tanh(g), sigmoid(f) * c))\n",
        GOLDEN,
    ),
    Mutant(
        "lstm_fast/reference.py",
        "    c = f * _float64(c) + i * g\n    h = o * np.tanh(c)\n    return h, c\n",
        "    c = f * _float64(c) + i * g\n    h = o * c\n    return h, c\n",
        "tests/lstm/test_agreement.py",
    ),
]

ALL = [*C, *PYTHON]
