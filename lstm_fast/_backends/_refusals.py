"""What a backend says of a program that is not for it."""


class CannotComputeError(Exception):
    """A backend does not have what a program needs; the text says what."""
