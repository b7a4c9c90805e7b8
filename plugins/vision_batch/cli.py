"""Run the command line: ``vision-batch <command>``. Each command lives beside what it is about."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from io import TextIOWrapper

#: Command, module whose ``run(argv)``, or the function behind the colon, carries it out, and what it is for.
COMMANDS: tuple[tuple[str, str, str], ...] = (
    ("check", "vision_batch.enrichment.check", "check every declaration and say what is wrong, where"),
    ("tokens", "vision_batch.images.report", "show what images cost on the models, in tokens"),
    ("plan", "vision_batch.hooks.commands:plan", "say what a run would ask and what that would cost"),
    ("parse", "vision_batch.enrichment.parse_command", "tell how texts of a model would be read as answers"),
    ("explain", "vision_batch.hooks.commands:explain", "say why a row is what it is, or why there is none"),
    ("export", "vision_batch.hooks.commands:export", "write answers into a Parquet, CSV or JSONL file"),
    ("connections", "vision_batch.hooks.connections", "try what declarations name: the service, storage, destinations"),
    ("emulator", "vision_batch.emulator.main", "run AI Studio's emulator on this machine"),
    ("demo", "vision_batch.demo.run", "run, start or stop the demonstration on this machine"),
)

#: Libraries whose errors tell of a server or a file, in their own words; all other errors are faults of ours.
_FOREIGN = frozenset(
    {
        "_duckdb",
        "duckdb",
        "psycopg",
        "psycopg2",
        "redshift_connector",
        "clickhouse_connect",
        "botocore",
        "boto3",
        "httpx",
    }
)

Command = Callable[[Sequence[str]], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out one command; return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    known = {name: module for name, module, _ in COMMANDS}
    if not arguments or arguments[0] in {"-h", "--help"}:
        print(_usage())  # noqa: T201 - a command line prints
        return 0 if arguments else 2
    if arguments[0] not in known:
        print(f"vision-batch: there is no command {arguments[0]!r}\n\n{_usage()}", file=sys.stderr)  # noqa: T201
        return 2
    module, _, function = known[arguments[0]].partition(":")
    run: Command = getattr(import_module(module), function or "run")
    _take_any_letter()
    try:
        code = run(arguments[1:])
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read it has seen enough, such as `head`; nor can anything be flushed at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if not any(each.__module__.partition(".")[0] in _FOREIGN for each in type(error).__mro__):
            raise
        words = " ".join(str(error).split())
        print(f"vision-batch {arguments[0]}: {type(error).__name__}: {words}", file=sys.stderr)  # noqa: T201
        return 2
    return code


def _take_any_letter() -> None:
    """Let answers in Russian pass where the locale knows Latin letters only: files and pipes get UTF-8."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper) and stream.encoding.lower().replace("-", "") != "utf8":
            stream.reconfigure(encoding=None if stream.isatty() else "utf-8", errors="backslashreplace")


def _usage() -> str:
    lines = [f"  {name:<12} {text}" for name, _, text in COMMANDS]
    return "\n".join(["usage: vision-batch COMMAND [...]", "", *lines, "", "vision-batch COMMAND --help tells more."])


if __name__ == "__main__":
    sys.exit(main())
