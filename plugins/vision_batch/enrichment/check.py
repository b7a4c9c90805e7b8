"""Check declarations from the command line: ``vision-batch check``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from vision_batch.enrichment.declaration import Declaration
from vision_batch.enrichment.document import Place, read_document
from vision_batch.enrichment.reader import declarations_in, load_declaration
from vision_batch.errors import DeclarationError

Loaded = Mapping[Path, Declaration]


def run(argv: Sequence[str]) -> int:
    """Print one line for each good declaration, every mistake of the others; return 0 if all are good, else 1."""
    parser = _parser()
    options = parser.parse_args(argv)
    files: list[Path] = []
    for path in options.files or [options.include / "enrichments"]:
        if options.files and not path.is_dir():
            files.append(path)
        elif found := declarations_in(path):
            files += found
        else:
            parser.error(f"there are no declarations in {path}")
    good, mistakes = check(files, include_folder=options.include, environ=os.environ)
    for path, declaration in good.items():
        print(_line(path, declaration))  # noqa: T201 - a command line prints
    for mistake in mistakes:
        print(mistake, file=sys.stderr)  # noqa: T201
    return 1 if mistakes else 0


def check(
    files: Iterable[Path], *, include_folder: Path, environ: Mapping[str, str]
) -> tuple[Loaded, Sequence[DeclarationError]]:
    """Return the declarations that are good by themselves and beside each other, and what is wrong with the rest."""
    loaded: dict[Path, Declaration] = {}
    mistakes: list[DeclarationError] = []
    for path in files:
        try:
            declaration = load_declaration(path, include_folder=include_folder, environ=environ)
        except DeclarationError as error:
            mistakes.append(error)
            continue
        clashes = [_error(path, *clash) for clash in _clashes(declaration, loaded)]
        mistakes += clashes
        if not clashes:
            loaded[path] = declaration
    return loaded, mistakes


def _clashes(declaration: Declaration, others: Loaded) -> Iterator[tuple[Place, str]]:
    """Yield the places at which a declaration contradicts others, and how."""
    for path, other in others.items():
        if declaration.name == other.name:
            yield ("name",), f"{declaration.name!r} is the name of {path.name} too; give each enrichment its own"
        if declaration.destination.identity().lower() == other.destination.identity().lower():
            theirs = {column.name: column.field.column_type for column in other.answer.columns()}
            for column in declaration.answer.columns():
                ours = column.field.column_type
                known = theirs.get(column.name, ours)
                if known != ours:
                    message = (
                        f"the column {column.name} would be {ours}, but {path.name} makes it {known} in "
                        f"{other.destination.table}; give the field another name, or the answers another table"
                    )
                    yield column.place, message


def _error(path: Path, place: Place, message: str) -> DeclarationError:
    return read_document(path).error(place, message)


def _line(path: Path, declaration: Declaration) -> str:
    return (
        f"{path.name}: {declaration.name} asks {declaration.model} about {declaration.source} "
        f"into {declaration.destination.table}"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="vision-batch check", description="Check declarations: exit code 0 if all are good, 1 if one is wrong."
    )
    parser.add_argument(
        "--include",
        type=Path,
        default=Path("include"),
        metavar="FOLDER",
        help="the folder with enrichments/ and prompts/ (default: %(default)s)",
    )
    parser.add_argument(
        "files",
        nargs="*",
        type=Path,
        metavar="PATH",
        help="declarations, or folders of them (default: all of FOLDER/enrichments)",
    )
    return parser
