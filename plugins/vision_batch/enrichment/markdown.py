"""Write Markdown that survives what people write."""

from __future__ import annotations

import re
from collections.abc import Iterable

#: What means something in Markdown, or would at the beginning of a line; ``_`` means nothing within a word.
_MEANT = re.compile(r"[\\`*\[\]<>|~#&]|(?<!\w)_|_(?!\w)|^[-+=]|^\d+[.)]")


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Return a table; its cells are Markdown of one line."""
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |" for cells in lines)


def bullets(lines: Iterable[str]) -> str:
    """Return a list."""
    return "\n".join(f"- {line}" for line in lines)


def quoted(text: str) -> str:
    """Return a text as a quotation that keeps its lines and shows each sign as it is."""
    paragraphs = re.split(r"\n\s*\n", text.strip())
    return "\n>\n".join("\\\n".join(f"> {plain(line)}" for line in each.splitlines()) for each in paragraphs)


def plain(text: str) -> str:
    """Return a line of text whose every sign is shown as it is."""
    return _MEANT.sub(_escaped, text.strip())


def _escaped(sign: re.Match[str]) -> str:
    return f"{sign[0][:-1]}\\{sign[0][-1]}"
