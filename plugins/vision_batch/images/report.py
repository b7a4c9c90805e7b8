"""Show what images cost on the models: ``vision-batch tokens MODEL FILE...|WxH``. Nothing is sent."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import yaml
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vision_batch.errors import InputError
from vision_batch.images.budget import Budget
from vision_batch.images.costs import Cost, Picture, Size, costs, job_tokens
from vision_batch.models import MINIMUM_JOB_TOKENS, MODELS, Model, added_model, checked_window, get_model

#: A pipe has no width: nothing is folded there.
_PIPE_WIDTH: Final = 1000

#: Where added models are looked for.
_MODELS_FILE: Final = Path("include/models.yaml")

#: Between width and height; the Cyrillic letters and the sign look like x.
_TIMES: Final = "xXхХ×"

_ALL: Final = "all"

#: How many characters of a name are repeated to people.
_SHOWN: Final = 200


def run(argv: Sequence[str]) -> int:
    """Print the costs as tables, or as JSON.

    :raises SystemExit: with code 2 for wrong usage.
    """
    parser = _parser()
    options = parser.parse_args(argv)
    try:
        budgets = _budgets(options)
    except InputError as error:
        parser.error(str(error))
    pictures = list(_pictures(options.images))
    if not pictures:
        parser.error(f"there are no files in {', '.join(map(str, options.images))}")
    found = [cost for picture in pictures for cost in costs(picture, budgets)]
    if options.json:
        print(_as_json(found, budgets))  # noqa: T201 - a command line prints
        return 0
    out = Console()
    if not out.is_terminal:
        out = Console(width=_PIPE_WIDTH)
    _show_images(found, out)
    _show_jobs(found, budgets, out)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="vision-batch tokens", description="Show what images cost on the models, in tokens. Nothing is sent."
    )
    parser.add_argument("model", metavar="MODEL", help=f"'{_ALL}', or one of {', '.join(MODELS)}")
    parser.add_argument(
        "images", nargs="+", type=_picture, metavar="FILE|WxH", help="an image, a folder of images, or a size"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument(
        "--prompt-tokens", type=_count, default=500, metavar="N", help="of the question's text (default: %(default)s)"
    )
    parser.add_argument(
        "--max-tokens", type=_count, default=300, metavar="N", help="of an answer at most (default: %(default)s)"
    )
    parser.add_argument("--window", metavar="N", help="of the model, instead of the table's")
    parser.add_argument("--models", type=Path, default=_MODELS_FILE, help="file of added models (default: %(default)s)")
    return parser


def _picture(text: str) -> Picture:
    if size := re.fullmatch(rf"([1-9]\d{{0,6}})[{_TIMES}]([1-9]\d{{0,6}})", text):
        return Size(int(size[1]), int(size[2]))
    try:
        path = Path(text).expanduser()
        there = path.exists()
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{_short(text)!r} cannot be looked at: {error.strerror}") from None
    except RuntimeError:  # there is no such user
        there = False
    if not there:
        raise argparse.ArgumentTypeError(
            f"there is no file or folder {_short(text)!r}, and it is no size such as 4032x3024"
        )
    return path


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]} ..."


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of tokens")
    return int(text)


def _budgets(options: argparse.Namespace) -> dict[Model, Budget]:
    known = {**MODELS, **_added(options.models)}
    models = known.values() if options.model == _ALL else [get_model(options.model, known=known)]
    if options.window is not None:
        models = [replace(model, window_tokens=checked_window(options.window)) for model in models]
    return {model: Budget(model.window_tokens, options.max_tokens, options.prompt_tokens) for model in models}


def _added(path: Path) -> dict[str, Model]:
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8-sig")) if path != _MODELS_FILE or path.exists() else None
        items = dict(found or {}).items()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, TypeError, RecursionError, yaml.YAMLError) as error:
        words = getattr(error, "problem", None) or " ".join(str(error).split())
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise InputError(f"{path}{where} is not YAML of models: {words}") from None
    return {str(model_id): added_model(str(model_id), fields) for model_id, fields in items}


def _pictures(named: Sequence[Picture]) -> Iterator[Picture]:
    """Find the files meant, those in folders sorted and without hidden ones."""
    for picture in named:
        if isinstance(picture, Path) and picture.is_dir():
            for below in sorted(picture.rglob("*")):
                if below.is_file() and not any(part.startswith(".") for part in below.relative_to(picture).parts):
                    yield below
        else:
            yield picture


def _of(model: Model, found: Sequence[Cost]) -> list[Cost]:
    return [cost for cost in found if cost.model == model]


def _job(found: Sequence[Cost], model: Model, budget: Budget) -> dict[str, Any]:
    """Sum one model's images up as one job."""
    sent = [cost.sent.tokens for cost in found if cost.sent]
    tokens = job_tokens(found, budget)
    billed = max(tokens, MINIMUM_JOB_TOKENS) if sent else 0
    return {
        "model": model.id,
        "images": len(sent),
        "image_tokens": sum(sent),
        "tokens_at_most": tokens,
        "billed_tokens": billed,
        "billing_units": float(model.price_coefficient * billed / 1000),
    }


def _as_json(found: Sequence[Cost], budgets: Mapping[Model, Budget]) -> str:
    jobs = [_job(_of(model, found), model, budget) for model, budget in budgets.items()]
    images = [cost.as_dict() for cost in found]
    return json.dumps({"images": images, "one_job": jobs}, ensure_ascii=False, indent=2)


def _show_images(found: Sequence[Cost], out: Console) -> None:
    table = Table(title="Images as sent", title_justify="left")
    table.add_column("image", overflow="fold")
    table.add_column("model")
    for name in ("stored", "sent", "tokens", "of the window", "bytes"):
        table.add_column(name, justify="right")
    shown = None
    for cost in found:
        if cost.picture != shown:
            table.add_section()
        name, shown = "" if cost.picture == shown else escape(str(cost.picture)), cost.picture
        table.add_row(name, cost.model.name, *_cells(cost))
    out.print(table)
    reasons = dict.fromkeys(f"{cost.picture}: {cost.rejected}" for cost in found if cost.rejected)
    for reason in reasons:
        out.print(f"rejected: {escape(reason)}", soft_wrap=True, highlight=False)


def _cells(cost: Cost) -> tuple[str, ...]:
    sent = cost.sent
    if sent is None:
        return ("", "rejected")
    size = "" if sent.bytes is None else f"{sent.bytes:,}{' as stored' * sent.passed_through}"
    return str(sent.stored), str(sent.size), f"{sent.tokens:,}", f"{cost.window_share:.1%}", size


def _show_jobs(found: Sequence[Cost], budgets: Mapping[Model, Budget], out: Console) -> None:
    table = Table(title="All of them in one job", title_justify="left")
    table.add_column("model")
    for name in ("images", "their tokens", "with prompts and answers, at most", "billed", "billing units"):
        table.add_column(name, justify="right")
    for model, budget in budgets.items():
        _, *numbers, units = _job(_of(model, found), model, budget).values()
        table.add_row(model.name, *(f"{number:,}" for number in numbers), f"{units:,.10g}")
    out.print(table)
    out.print(f"A job is billed for at least {MINIMUM_JOB_TOKENS:,} tokens; a billing unit is priced by AI Studio.")
