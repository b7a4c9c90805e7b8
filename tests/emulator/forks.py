"""Emulators that are forked from a process which has imported one: each is there in milliseconds, not in a second."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection

CONTEXT = get_context("forkserver")


class ForkedEmulator:
    """Run an emulator in a process of its own.

    :param words: its command line.
    """

    def __init__(self, words: Sequence[str]) -> None:
        stdin, self._stdin = CONTEXT.Pipe(duplex=False)
        told, stdout = CONTEXT.Pipe(duplex=False)
        theirs = (stdin, stdout, Connection(os.dup(2), readable=False))
        self._process = CONTEXT.Process(target=_serve, args=(list(words), theirs), daemon=True)
        self._process.start()
        for each in theirs:
            each.close()
        with told, os.fdopen(os.dup(told.fileno())) as file:
            self.first_line = file.readline()

    def close_stdin(self) -> None:
        """Close its standard input, as the end of whoever started it would."""
        self._stdin.close()

    def kill(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self._process.is_alive():
            os.kill(self._process.pid, number)

    def wait(self, *, seconds: float = 100) -> int:
        """Wait for its end; return the exit code, negative for a signal."""
        self._process.join(seconds)
        assert self._process.exitcode is not None, f"it goes on after {seconds} s"
        return self._process.exitcode


def _serve(words: list[str], streams: tuple[Connection, Connection, Connection]) -> None:
    """Be an emulator with these as standard input, output and error."""
    from vision_batch.emulator.main import run  # noqa: PLC0415 - what starts emulators needs none of it

    for number, stream in enumerate(streams):
        os.dup2(stream.fileno(), number)
        stream.close()
    sys.stdin, sys.stdout = os.fdopen(0), os.fdopen(1, "w")
    sys.exit(run(words))
