"""Read a declaration's file, with its prompt, its places and the models that settings add."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from vision_batch.enrichment.declaration import SHORTEST_SETTLE, Declaration, allowed_names
from vision_batch.enrichment.document import Document, Place, read_document
from vision_batch.enrichment.layouts import mistake_in_layout
from vision_batch.enrichment.mistakes import SET_BY_RUNS, mistakes, no_such_field
from vision_batch.errors import DeclarationError, InputError
from vision_batch.models import added_model

#: The fields that may hold ``${NAME}`` or ``${NAME:-default}``.
LOCATIONS = (
    ("work_folder",),
    ("source", "uri"),
    ("source", "manifest"),
    ("source", "query_file"),
    ("source", "allowed_prefixes"),
    ("destination", "path"),
    ("destination", "staging"),
)

#: Those that name a DuckDB file.
FILES = frozenset({("source", "query_file"), ("destination", "path")})

#: How the names of declarations' files end.
SUFFIXES = frozenset({".yaml", ".yml"})

#: Adds models: id, then ``family`` and what else is known. Beside the declarations' folder; need not be there.
MODELS_FILE = "models.yaml"

_NAME = re.compile(r"""^name\s*:\s*(["']?)(?P<name>[a-z][a-z0-9-]{0,31})\1\s*(?:#.*)?$""", re.MULTILINE)
_VARIABLE = re.compile(r"\$\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?::-(?P<default>[^}]*))?\}")


def declaration_files(include_folder: Path) -> list[Path]:
    """Return the declarations' files below a folder, in the order of their names; hidden ones are none."""
    return declarations_in(include_folder / "enrichments")


def declarations_in(folder: Path) -> list[Path]:
    """Return the declarations' files that lie in a folder, as `declaration_files` does."""
    return sorted(path for path in folder.glob("*") if path.suffix in SUFFIXES and not path.name.startswith("."))


def load_declaration(
    path: Path, *, include_folder: Path, environ: Mapping[str, str], base_folder: Path | None = None
) -> Declaration:
    """Read a declaration with its prompt.

    :param include_folder: what ``prompt`` is relative to; its ``models.yaml`` adds models.
    :param environ: values for ``${NAME}`` in locations.
    :param base_folder: what relative locations are relative to; default the parent of ``include_folder``.
    :raises DeclarationError: names file, line, field, what was found and what is allowed, for every mistake.
    """
    document = read_document(path)
    found = document.values
    if not isinstance(found, dict):
        raise document.error((), "the file does not hold a mapping such as 'name: photo-quality'")
    for name in SET_BY_RUNS & found.keys():
        raise document.error((name,), no_such_field((), name))
    _refuse_unstorable(document)
    _refuse_misplaced_variables(document)
    base = (base_folder or include_folder.parent).resolve()
    for location in LOCATIONS:
        _expand(document, location, environ, base)
    prompt = _prompt(document, include_folder)
    try:
        declaration = Declaration.model_validate(
            {**found, "prompt": prompt, "added_models": read_added_models(include_folder)}
        )
    except ValidationError as error:
        raise mistakes(document, error) from None
    if declaration.limits.settle < SHORTEST_SETTLE:
        raise document.error(
            ("limits", "settle"),
            f"found {declaration.limits.settle.total_seconds():g} s; allowed: {SHORTEST_SETTLE.total_seconds():g} s "
            "or more, or a job that the service lists late is paid for twice",
        )
    # Not in the model itself: a shard that was claimed before has to be read, whatever is refused since.
    if mixed := mistake_in_layout(declaration.source, declaration.schedule):
        raise document.error(("source", mixed[0]), mixed[1])
    if "budget" in found and not declaration.budget.is_set:
        raise document.error(
            ("budget",), "found neither per_run nor per_month; give one of the two, or take budget out"
        )
    return declaration


def declared_name(path: Path) -> str | None:
    """Return the name that a declaration's file gives, whatever else is wrong in it; ``None`` if it gives none."""
    try:
        found = _NAME.search(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return None
    return found and found["name"]


def read_added_models(include_folder: Path) -> dict[str, Any]:
    """Return what ``models.yaml`` says of each model that it adds; nothing if there is no such file.

    :raises DeclarationError: names file, line, model, what was found and what is allowed.
    """
    path = include_folder / MODELS_FILE
    if not path.exists():
        return {}
    document = read_document(path)
    found = document.values or {}
    if not isinstance(found, dict):
        raise document.error((), "the file does not hold a mapping such as 'my-model: {family: qwen}'")
    for model_id, fields in found.items():
        try:
            added_model(model_id, fields)
        except InputError as error:
            raise document.error((model_id,), str(error)) from None
    return found


def find_declaration(name: str, *, include_folder: Path, environ: Mapping[str, str]) -> Declaration:
    """Return the declaration with a name, whatever else is wrong in its folder.

    :raises DeclarationError: if there is none, or its own file has a mistake.
    """
    known: list[str] = []
    for path in declaration_files(include_folder):
        try:
            declaration = load_declaration(path, include_folder=include_folder, environ=environ)
        except DeclarationError:
            if path.stem.replace("_", "-") == name:
                raise
            continue
        if declaration.name == name:
            return declaration
        known.append(declaration.name)
    if not (include_folder / "enrichments").is_dir():
        raise DeclarationError(f"there is no folder {include_folder / 'enrichments'}; name its parent with --include")
    meant = Path(name).stem if Path(name).suffix in SUFFIXES else name
    raise DeclarationError(f"there is no enrichment {name!r} in {include_folder}; {allowed_names(known, meant)}")


def _refuse_unstorable(document: Document) -> None:
    for place, text in _texts(document.values, ()):
        if "\0" in text:
            raise document.error(place, f"found {text[:80]!r}, which holds the character NUL; no table can keep it")


def _refuse_misplaced_variables(document: Document) -> None:
    allowed = ", ".join(".".join(location) for location in LOCATIONS)
    for place, text in _texts(document.values, ()):
        location = tuple(step for step in place if isinstance(step, str))
        if location not in LOCATIONS and "${" in text:
            raise document.error(place, f"found {text!r}; variables are allowed in {allowed} only")
        if location in LOCATIONS and re.search(r"\$[A-Za-z_{]", _VARIABLE.sub("", text)):
            raise document.error(place, f"found {text!r}; write a variable like ${{NAME}} or ${{NAME:-default}}")


def _texts(value: Any, place: Place) -> Iterator[tuple[Place, str]]:
    """Yield every text of a document with its place."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _texts(inner, (*place, name))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _texts(inner, (*place, number))


def _expand(document: Document, location: tuple[str, ...], environ: Mapping[str, str], base: Path) -> None:
    """Fill in environment variables, and make a relative place absolute."""
    holder = document.values
    for name in location[:-1]:
        holder = holder.get(name) if isinstance(holder, dict) else None
    if not isinstance(holder, dict):
        return
    found = holder.get(location[-1])
    if isinstance(found, str):
        holder[location[-1]] = _absolute(document, location, found, environ, base)
    elif isinstance(found, list):
        holder[location[-1]] = [
            _absolute(document, (*location, number), each, environ, base) if isinstance(each, str) else each
            for number, each in enumerate(found)
        ]


def _absolute(document: Document, place: Place, text: str, environ: Mapping[str, str], base: Path) -> str:
    def value(match: re.Match[str]) -> str:
        got = environ.get(match["name"]) or match["default"]
        if got is None:
            raise document.error(place, f"the environment variable {match['name']} is not set and has no default")
        return got

    text = _VARIABLE.sub(value, text).strip()
    if not text:
        raise document.error(place, "the place is empty; allowed are an absolute or a relative path")
    if place in FILES:
        text = text.removeprefix("file://")
        if "://" in text:
            raise document.error(place, f"found {text!r}; allowed: the path of a DuckDB file on this machine")
        return str(base / text)
    return text if "://" in text else f"file://{base / text}" + "/" * text.endswith("/")


def _prompt(document: Document, include_folder: Path) -> str:
    name, place = document.values.get("prompt"), ("prompt",)
    if not isinstance(name, str):
        raise document.error(place, "name the prompt's file, such as prompts/photo_quality.md")
    folder = include_folder.resolve()
    try:
        path = (folder / name).resolve()
        if not path.is_relative_to(folder):
            raise document.error(place, f"{name!r} lies outside of the include folder")
        text = path.read_text(encoding="utf-8-sig").strip()
    except FileNotFoundError:
        there = sorted(str(each.relative_to(folder)) for each in folder.glob("prompts/*.md"))
        raise document.error(
            place, f"there is no file {name!r} in the include folder; {allowed_names(there, name)}"
        ) from None
    except (OSError, ValueError) as error:
        raise document.error(place, f"{name!r} cannot be read as UTF-8 text: {type(error).__name__}") from None
    if "\0" in text:
        raise document.error(place, f"{name!r} holds the character NUL; no table can keep it")
    if not text:
        raise document.error(place, f"{name!r} is empty; write there what the model is asked")
    return text
