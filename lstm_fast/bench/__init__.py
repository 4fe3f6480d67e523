"""What a step costs on this machine, how far that is from its limits, and what peers take.

    lstm-fast bench             the command line, see `lstm_fast.cli`
    schema                      what a report holds: the JSON format, documented and versioned
    suite.run(settings)         measures and returns a report
    shapes, contenders, peers   what is measured, of LSTMs
    lstms, models, model_peers  an LSTM or a whole model, with all that implements it
    timing, limits, machine     how, and against what
    table, plot, compare        a report for people

Nothing in `lstm_fast` imports this package on its own.
"""

from __future__ import annotations

__all__ = ["CannotRunError"]


class CannotRunError(Exception):
    """What was asked for can't be measured here; the message is one line that says what to do.

    Example:
        >>> from pathlib import Path
        >>> from lstm_fast.bench import compare
        >>> try:
        ...     compare.load(Path("last.json"))  # a report that was never written
        ... except CannotRunError as error:
        ...     print(error)
        cannot read last.json: ...
    """
