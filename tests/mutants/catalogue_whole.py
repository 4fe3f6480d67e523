"""Mistakes in what files of Keras and of Neural Amp Modeler become as programs."""

from .mutant import Mutant

FORMATS = "lstm_fast/formats/"
KERAS = FORMATS + "keras/_program"
TEST = "tests/formats/test_keras_models.py"
STEPS = TEST + "::test_every_step_is_keras_own"
CONFIGS = TEST + "::test_a_config_that_does_not_fit_is_refused_by_name"
NAM = "tests/formats/test_nam.py"

WHOLE_MODELS = [
    Mutant(
        "Keras programs: a GRU has its gates in PyTorch's order",
        FORMATS + "gates.py",
        '"keras": "zrn"',
        '"keras": "rzn"',
        STEPS,
    ),
    Mutant(
        "Keras programs: a GRU resets after the product, always",
        KERAS + "_recurrent.py",
        "linear_before_reset=is_after",
        "linear_before_reset=True",
        STEPS,
    ),
    Mutant(
        "Keras programs: a convolution keeps the first frames, not the last",
        KERAS + "_layers.py",
        "starts=(1, 0), ends=end,",
        "starts=(0, 0), ends=(kept, channels),",
        STEPS,
    ),
    Mutant(
        "Keras programs: a convolution has its taps the other way round",
        KERAS + "_layers.py",
        "for one in (kernel, *bias)]",
        "for one in (kernel[:, :, ::-1], *bias)]",
        STEPS,
    ),
    Mutant(
        "Keras programs: a batch normalisation forgets what it has seen of the mean",
        KERAS + "_layers.py",
        "(scale, beta - mean * scale)",
        "(scale, beta)",
        STEPS,
    ),
    Mutant(
        "Keras programs: a padding that looks into the future is taken for a causal one",
        KERAS + "_layers.py",
        'padding == "causal" or (padding in ("same", "valid") and taps == 1)',
        'padding in ("causal", "same", "past")',
        CONFIGS,
    ),
    Mutant(
        "Keras programs: a layer may have weights that nothing tells of",
        KERAS + "_context.py",
        "if place is not None and place.get(str(len(shapes))) is not None:",
        "if False:",
        CONFIGS,
    ),
    Mutant(
        "Keras programs: a state may be of any size",
        "lstm_fast/_program_writer.py",
        "if self._kept > MOST_KEPT:",
        "if self._kept > MOST_KEPT << 40:",
        CONFIGS,
    ),
    Mutant(
        "NAM programs: sessions start from zeros",
        "lstm_fast/_lstm_program.py",
        'writer.state(f"h_l{n}", (layer.output_size,), layer.h_0)',
        'writer.state(f"h_l{n}", (layer.output_size,))',
        NAM + "::test_a_whole_model_begins_where_the_file_says",
    ),
    Mutant(
        "NAM programs: the head is left out",
        FORMATS + "nam.py",
        'writer.program(("input", given), ("output", y))',
        'writer.program(("input", given), ("output", x))',
        NAM + "::test_a_whole_model_plays_what_the_plugin_plays",
    ),
    Mutant(
        "whole models: an option that a format does not have is left out without a word",
        FORMATS + "_whole_models.py",
        "if unknown := [key for key in given if key not in reader.options]:",
        "if unknown := []:",
        TEST + "::test_options_of_other_formats_are_refused",
    ),
]
