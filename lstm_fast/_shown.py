"""What a file holds, in errors and lists: short and in one line, whatever it is."""

from __future__ import annotations

LONGEST = 80  # characters of a name


def shown(value: object, longest: int = LONGEST) -> str:
    """Return a name in quotes; of a JSON text, any value."""
    if isinstance(value, str):
        return repr(value) if len(value) <= longest else f"{value[:longest]!r}..."
    if isinstance(value, (dict, list)):
        return f"a {'JSON object' if isinstance(value, dict) else 'list'} of {len(value)}"
    if isinstance(value, int) and not -(10**18) < value < 10**18:
        return "a number of more than 18 digits"
    return repr(value)


def plain(name: str, longest: int = LONGEST) -> str:
    """Return a name without quotes."""
    some = name[:longest]
    some = some if some.isprintable() else repr(some)[1:-1][:longest]
    return some if len(name) <= longest else some + "..."
