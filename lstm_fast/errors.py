"""What lstm_fast raises beyond `TypeError` and `ValueError`."""

from __future__ import annotations

__all__ = ["BackendUnavailableError", "ConcurrentUseError", "LstmFastError"]


class LstmFastError(Exception):
    """Base of the errors that only lstm_fast raises."""


class ConcurrentUseError(LstmFastError, RuntimeError):
    """One stream was used by two threads at once. Nothing has changed; give each thread its own."""


class BackendUnavailableError(LstmFastError, RuntimeError):
    """A backend was asked for by name that is not installed or does not run here."""
