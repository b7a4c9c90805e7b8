"""Bind a partition into a source's query: as a parameter, never as text."""

from __future__ import annotations


def bound(query: str, partition: str, placeholder: str) -> tuple[str, tuple[str, ...]]:
    """Return the SQL as a driver takes it, and its parameters.

    :param placeholder: the mark of a parameter, ``?`` or ``%s``; beside ``%s`` other percent signs are doubled.
    """
    parts = query.split("{partition}")
    if placeholder == "%s":
        parts = [part.replace("%", "%%") for part in parts]
    return placeholder.join(parts), (partition,) * (len(parts) - 1)
