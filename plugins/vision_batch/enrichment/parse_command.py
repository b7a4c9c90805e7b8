"""Read model's texts as an enrichment would: ``vision-batch parse``. For people who tune prompts; asks nobody."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from vision_batch.enrichment.declaration import Declaration
from vision_batch.enrichment.parsing import parse_answer
from vision_batch.enrichment.reader import find_declaration
from vision_batch.errors import InputError, VisionBatchError


def run(argv: Sequence[str]) -> int:
    """Print how each text would be read; return 0, or 2 if that is not possible."""
    options = _parser().parse_args(argv)
    try:
        declaration = find_declaration(options.enrichment, include_folder=options.include, environ=os.environ)
        from_stdin = str(options.file) == "-"
        with nullcontext(sys.stdin.buffer) if from_stdin else options.file.open("rb") as lines:
            for parsed in parse_lines(declaration, lines, "standard input" if from_stdin else options.file.name):
                print(json.dumps(parsed, ensure_ascii=False, default=str))  # noqa: T201 - a command line prints
    except BrokenPipeError:  # standard output's, not the file's
        raise
    except OSError as error:
        print(f"vision-batch parse: {options.file} cannot be read: {error.strerror}", file=sys.stderr)  # noqa: T201
        return 2
    except VisionBatchError as error:
        print(f"vision-batch parse: {error}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


def parse_lines(declaration: Declaration, lines: Iterable[bytes], name: str) -> Iterator[dict[str, Any]]:
    """Yield ``status``, ``fields`` and ``error`` for each line ``{"text": ...}``; empty lines are passed over.

    :param name: what messages call the lines.
    :raises InputError: names the line that is no such line.
    """
    for number, line in enumerate(lines, start=1):
        if line.strip():
            text = _text(line, f"{name}, line {number}")
            parsed = parse_answer(declaration.answer, text, declaration.language)
            yield {"status": parsed.status, "fields": _shown(declaration, parsed.fields), "error": parsed.error}


def _shown(declaration: Declaration, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields with JSON as what it says, not as a text."""
    kept = {column.name for column in declaration.answer.columns() if column.field.column_type == "json"}
    return {name: json.loads(value) if name in kept and value else value for name, value in fields.items()}


def _text(line: bytes, where: str) -> str:
    try:
        found = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise InputError(f"{where}: this is not UTF-8 text") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f'{where}: this is not JSON: {error}; write each line like {{"text": "..."}}') from None
    if not isinstance(found, dict) or not isinstance(found.get("text"), str):
        raise InputError(f'{where}: there is no text; write each line like {{"text": "..."}}')
    return str(found["text"])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="vision-batch parse",
        description='Tell how texts of a model would be read: one line {"status", "fields", "error"} for each.',
    )
    parser.add_argument("enrichment", help="its name")
    parser.add_argument(
        "--in", dest="file", type=Path, required=True, metavar="FILE", help='lines {"text": ...}; - for standard input'
    )
    parser.add_argument(
        "--include", type=Path, default=Path("include"), metavar="FOLDER", help="folder of the declarations"
    )
    return parser
