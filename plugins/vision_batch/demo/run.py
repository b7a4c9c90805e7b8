"""Carry out ``vision-batch demo``: a backfill over seven days, the stack with its UI, one job at the real service."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.markup import escape

from vision_batch.demo.backfill import ask_seven_days
from vision_batch.demo.real import ask_the_service, read_service
from vision_batch.demo.session import PROJECT, running
from vision_batch.demo.stack import EMULATOR_SPEED, Stack, request_stop
from vision_batch.errors import VisionBatchError

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_WIDTH = 150


def run(argv: Sequence[str]) -> int:
    """Carry out one of the demo's commands and give its exit code."""
    options = _parser().parse_args(list(argv) or ["run"])
    out = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH)
    for number in _SIGNALS:
        signal.signal(number, _leave)
    commands: Mapping[str, Callable[[argparse.Namespace, Console], int]] = {
        "run": _run,
        "up": _up,
        "down": _down,
        "real": _real,
    }
    try:
        return commands[options.command](options, out)
    except VisionBatchError as error:
        out.print(f"[bold red]{escape(str(error))}[/]", soft_wrap=True)
        return 1


def _run(options: argparse.Namespace, out: Console) -> int:
    return ask_seven_days(Stack(options.folder, PROJECT, speed=options.speed, schedule=False), options.images, out)


def _real(options: argparse.Namespace, out: Console) -> int:
    service = read_service(os.environ)
    if options.images is None:
        out.print("[bold red]Say which pictures: make real IMAGES=folder[/]")
        return 2
    return ask_the_service(Stack(options.real_folder, PROJECT, service=service, schedule=False), options.images, out)


def _up(options: argparse.Namespace, out: Console) -> int:
    stack = Stack(options.folder, PROJECT, speed=options.speed)
    with suppress(_Asked), running(stack, out):
        out.print(f"\n[bold]{stack.url}[/] is Airflow's UI: no login, and for this machine only.")
        out.print(f"The enrichments are paused at first. The emulator's bill: {stack.emulator_url}/_emulator/bill")
        out.print("Ctrl-C, or `make down` in another terminal, ends it.")
        while True:
            stack.check()
            time.sleep(1)
    out.print("The stack has ended.")
    return 0


def _down(options: argparse.Namespace, out: Console) -> int:
    ran = [request_stop(folder) for folder in (options.folder, options.real_folder)]
    out.print("The stack has ended." if any(ran) else "Nothing was running.")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="vision-batch demo",
        description="Run a backfill over seven days, the stack with its UI, or one job at the real service.",
    )
    parser.add_argument("command", nargs="?", choices=("run", "up", "down", "real"), default="run")
    parser.add_argument("--images", type=_folder, help="a folder of your own pictures")
    parser.add_argument("--folder", type=Path, default=PROJECT / "var" / "demo", help="where the demo keeps everything")
    parser.add_argument("--real-folder", type=Path, default=PROJECT / "var" / "real", help="the same for `real`")
    parser.add_argument(
        "--speed", type=float, default=EMULATOR_SPEED, help="how many times faster the emulator's clock runs"
    )
    return parser


def _folder(text: str) -> Path:
    path = Path(text).expanduser().resolve()
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is not a folder")
    return path


class _Asked(SystemExit):
    """Leave because a signal asked for it."""


def _leave(number: int, _frame: FrameType | None) -> None:
    """Leave by an exception, so that every process is ended on the way out; further signals do not disturb that."""
    for other in _SIGNALS:
        signal.signal(other, signal.SIG_IGN)
    raise _Asked(128 + number)
