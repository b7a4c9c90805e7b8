"""Read a YAML file as plain values that remember their lines; refuse what a page of settings does not need."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from vision_batch.errors import DeclarationError

#: A declaration is a page of text; more is a mistake or an attack.
MAX_FILE_BYTES = 64 * 1024

#: Values, with every alias counted as if it were written out, and how deep they may be nested.
MAX_VALUES = 10_000
MAX_DEPTH = 30

#: libyaml nests on the stack of C, without a limit; a file with fewer of these marks cannot nest too deep for it.
MAX_NESTING_MARKS = 1_000

#: The way to a value: names of fields, and positions in lists.
Place = tuple[str | int, ...]

_STRING, _MERGE = "tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"


class _Advice(NamedTuple):
    """Say what to do where the parser has said something.

    :param where_it_begins: whether the mistake is where the parser began, not where it stopped.
    """

    said: str
    text: str
    where_it_begins: bool = False


_QUOTE = "put the value in quotes"

#: What people who do not know YAML write, by what its parser says of it; the first that fits.
_ADVICE = (
    _Advice(r"found character '\\t'", "indent with spaces, not with tabs"),
    _Advice("could not find expected ':'", "a ':' and a blank are missing after a key", where_it_begins=True),
    _Advice("quoted scalar", "the quotes that begin here do not end", where_it_begins=True),
    _Advice("mapping values are not allowed", f"{_QUOTE} if it holds a ': ', else mind how far the line is indented"),
    _Advice(
        "scanning an (alias|anchor)|cannot start any token|undefined alias", f"{_QUOTE}, its first sign has a meaning"
    ),
    _Advice("expected <block end>", f"indent the line as those beside it; if a value begins with {{ or [, {_QUOTE}"),
)


@dataclass(frozen=True)
class Document:
    """Hold a file's values and the line of each."""

    path: Path
    values: Any
    lines: Mapping[Place, int]

    def line(self, place: Place) -> int:
        """Return the line of a value; of the value around it, if it is not in the file."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)

    def explain(self, place: Place, message: str) -> str:
        """Return a message that begins with file, line and field."""
        return _explain(self.path, self.line(place), place, message)

    def error(self, place: Place, message: str) -> DeclarationError:
        """Return an error about a value."""
        return DeclarationError(self.explain(place, message))


def read_document(path: Path) -> Document:
    """Read a file of one YAML document.

    :raises DeclarationError: names file and line, if it is not such a file.
    """

    def error(line: int, message: str) -> DeclarationError:
        return DeclarationError(_explain(path, line, (), message))

    try:
        body = path.read_bytes()
    except OSError as problem:
        raise error(1, f"the file cannot be read: {problem.strerror}") from None
    if len(body) > MAX_FILE_BYTES:
        raise error(1, f"the file has {len(body)} bytes; allowed are {MAX_FILE_BYTES}")
    try:
        text = body.decode("utf-8-sig")
        loader, root = _compose(text)
        lines = _Lines(path)
        lines.collect(root, ())
        return Document(path, loader.construct_document(root) if root else None, lines.found)
    except UnicodeDecodeError as problem:
        raise error(body.count(b"\n", 0, problem.start) + 1, "the file is not UTF-8 text") from None
    except yaml.MarkedYAMLError as problem:
        line, words = _syntax(problem)
        raise error(line, f"this is not YAML: {words}") from None
    except yaml.YAMLError as problem:
        raise error(1, f"this is not YAML: {' '.join(str(problem).split())}") from None
    except RecursionError:
        raise error(1, f"values are nested deeper than {MAX_DEPTH} levels") from None


def _syntax(problem: yaml.MarkedYAMLError) -> tuple[int, str]:
    """Return the line where a person finds the mistake, and what to do about it with the parser's own words."""
    words = ": ".join(filter(None, [problem.context, problem.problem]))
    advice = next((each for each in _ADVICE if re.search(each.said, words)), None)
    marks = [problem.problem_mark, problem.context_mark]
    if advice is not None and advice.where_it_begins:
        marks.reverse()
    mark = next(filter(None, marks), None)
    return mark.line + 1 if mark else 1, words if advice is None else f"{advice.text} ({words})"


def _explain(path: Path, line: int, place: Place, message: str) -> str:
    field = f", field {'.'.join(map(str, place))!r}" if place else ""
    return f"{path.name}, line {line}{field}: {message}"


def _compose(text: str) -> tuple[_Loader, yaml.Node | None]:
    """Parse by libyaml, which is ten times as quick; where it stumbles, Python's own parser has the better words."""
    quick = getattr(yaml, "CSafeLoader", None)
    if quick is not None and sum(map(text.count, "[{-?")) < MAX_NESTING_MARKS:
        try:
            root = quick(text).get_single_node()
        except (yaml.YAMLError, RecursionError):
            pass
        else:
            return _Loader(""), root
    loader = _Loader(text)
    return loader, loader.get_single_node()


class _Loader(yaml.SafeLoader):
    """Tell the line of a value that looks like a date or a number and is none."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Return a node's plain value."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, KeyError, AttributeError):
            kind = node.tag.rpartition(":")[2]
            raise yaml.constructor.ConstructorError(
                None, None, f"{str(node.value)[:50]!r} is no {kind}; put it in quotes if it is a text", node.start_mark
            ) from None


class _Lines:
    """Walk over a file's nodes, note their lines, and refuse what could not be pointed at."""

    def __init__(self, path: Path) -> None:
        self.found: dict[Place, int] = {(): 1}
        self._path = path
        self._values = 0

    def collect(self, node: yaml.Node | None, at: Place, *, merged: bool = False) -> None:
        """Note the lines of a node and of all that is in it; fields that are merged in never hide others."""
        self._values += 1
        if node is None:
            return
        if self._values > MAX_VALUES or len(at) > MAX_DEPTH:
            limit = f"more than {MAX_VALUES} values" if self._values > MAX_VALUES else f"more than {MAX_DEPTH} levels"
            raise self._error(node, at[:3], f"the file has {limit}, with every alias written out")
        if isinstance(node, yaml.MappingNode):
            for key, value in sorted(node.value, key=lambda field: bool(field[0].tag == _MERGE)):
                self._collect_field(key, value, at, merged=merged)
        elif isinstance(node, yaml.SequenceNode):
            for number, value in enumerate(node.value):
                self.found.setdefault((*at, number), value.start_mark.line + 1)
                self.collect(value, (*at, number), merged=merged)
        elif any("\ud800" <= character <= "\udfff" for character in node.value):
            raise self._error(node, at, "the text holds half of a surrogate pair, which is no character")

    def _collect_field(self, key: yaml.Node, value: yaml.Node, at: Place, *, merged: bool) -> None:
        if key.tag == _MERGE:
            for each in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                self.collect(each, at, merged=True)
            return
        field = (*at, key.value) if isinstance(key, yaml.ScalarNode) else at
        if key.tag != _STRING:
            raise self._error(key, field, "the name of a field has to be a text: put it in quotes")
        if field in self.found and not merged:
            raise self._error(key, field, "the field is there twice")
        self.found.setdefault(field, key.start_mark.line + 1)
        self.collect(value, field, merged=merged)

    def _error(self, node: yaml.Node, place: Place, message: str) -> DeclarationError:
        return DeclarationError(_explain(self._path, node.start_mark.line + 1, place, message))
