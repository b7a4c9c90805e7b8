"""Bind a partition into a source's query: as a parameter, never as text."""

from __future__ import annotations

import re
from collections.abc import Iterator

#: A partition's place, and what of SQL may hold one without being any; each may hold the signs that begin another.
_PLACES = re.compile(
    r"""(?P<comment>--[^\n]*|/\*.*?\*/)|(?P<quotes>'[^']*'|"[^"]*")|(?P<sql>\{partition\})""", re.DOTALL
)


def stands_in(query: str) -> Iterator[str]:
    """Yield where each ``{partition}`` stands: in ``sql``, in ``quotes`` or in a ``comment``."""
    for found in _PLACES.finditer(query):
        if "{partition}" in found[0]:
            yield str(found.lastgroup)


def bound(query: str, partition: str, placeholder: str) -> tuple[str, tuple[str, ...]]:
    """Return the SQL as a driver takes it, and its parameters; comments have none.

    :param placeholder: the mark of a parameter, ``?`` or ``%s``; beside ``%s`` other percent signs are doubled.
    """
    text = query.replace("%", "%%") if placeholder == "%s" else query
    parts, end = [], 0
    for found in _PLACES.finditer(text):
        if found.lastgroup == "sql":
            parts.append(text[end : found.start()])
            end = found.end()
    return placeholder.join([*parts, text[end:]]), (partition,) * len(parts)
