"""Options of `lstm-fast check` that would change nothing for a target are refused."""

from __future__ import annotations

import argparse

from .target import Target

__all__ = ["refuse_of_an_lstm", "refuse_of_onnx", "refuse_of_vads"]


def refuse_of_onnx(options: argparse.Namespace, target: str) -> None:
    """Refuse options of ONNX models for what is none, which would change nothing.

    Raises:
        ValueError: there is one; the text says which.
    """
    for flag, value in (
        ("--input", options.input),
        ("--output", options.output),
        ("--state", options.state),
        ("--set", options.set),
        ("--frame", options.frame),
        ("--history", options.history),
        ("--shape", options.shape),
        ("--time-axis", options.time_axis),
        ("--batch-axis", options.batch_axis),
    ):
        if value is not None and value != []:
            raise ValueError(
                f"{target}: it is ready as it is and takes no {flag}, which is of a TARGET that is "
                "an .onnx file"
            )


def refuse_of_vads(options: argparse.Namespace, target: str, advice: str) -> None:
    """Refuse options of voice activity detectors where they would change nothing.

    Raises:
        ValueError: there is one; the text says which, and the advice.
    """
    for flag, value in (
        ("--sampling-rate", options.sampling_rate),
        ("--samples", options.samples),
        ("--chunk", options.chunk),
    ):
        if value is not None:
            raise ValueError(f"{target}: it takes no {flag} so: {advice}")


def refuse_of_an_lstm(options: argparse.Namespace, target: Target) -> None:
    """Refuse options of an LSTM alone for a whole model, which would change nothing.

    Raises:
        ValueError: there is one; the text says which.
    """
    if target.layout is None:
        return
    of_weights = f"{options.weight_dtype} weights: " if options.weight_dtype else ""
    for flag, value, advice in (
        (
            "--weight-dtype",
            options.weight_dtype,
            f"to check {of_weights}make a .lfm file with them as the TARGET, or a factory that "
            "returns load_model(..., weight_dtype=...)",
        ),
        ("--name", options.name, "it says which LSTM of several"),
        ("--input-size", options.input_size, "the file says what a frame is"),
        ("--ignore", options.ignore, "it is of PyTorch and safetensors files"),
        ("--head", options.head or None, "each of its outputs is compared as it is"),
    ):
        if value is not None and value != []:
            what = options.target or "the program"
            raise ValueError(f"{what}: a whole model takes no {flag}: {advice}")
