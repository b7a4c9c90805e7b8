"""Mutate picture files and prepare them: ``make fuzz``. Anything but a picture within its budget or a rejection fails.

A child process does the work under an address-space limit and writes down each file before it is tried, so that a
crash, a hang or a killed process also leaves the file that made it. Equal seeds try equal files.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import signal
import struct
import sys
import time
import traceback
import warnings
import zlib
from collections import Counter
from io import BytesIO
from itertools import product
from pathlib import Path
from random import Random

from image_corpus import seeds
from PIL import Image

from vision_batch.errors import ImageRejected
from vision_batch.images.budget import prompt_tokens
from vision_batch.images.opening import ImageLimits
from vision_batch.images.prepare import prepare_image
from vision_batch.models import MODELS

LIMITS = ImageLimits(max_bytes=1_000_000, max_pixels=4_000_000)
#: What one picture may take above the process: sixteen bytes a pixel, and what codecs hold for themselves.
MEMORY_BYTES = 16 * LIMITS.max_pixels + 128 * 2**20
#: Above what is there at the beginning; threads of codecs reserve more addresses than they use.
ADDRESS_BYTES = MEMORY_BYTES + 512 * 2**20
HANG_SECONDS = 20
BUDGETS = (11, 260, 421, 1100, 3248)
TELLING = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)
FAMILIES = list({model.family: model for model in MODELS.values()}.values())


class FindingError(Exception):
    """Say what is wrong with an outcome."""


def mutated(data: bytes, other: bytes, chance: Random) -> bytes:
    """Return a file with one to six mistakes; a PNG's checksums are mended half of the time."""
    body = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 3, 6))):
        if not body:
            break
        at = min(chance.randrange(len(body)), chance.randrange(len(body) + 40))  # headers are near the beginning
        kind = chance.randrange(7)
        if kind == 0:
            body[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            body[at] = chance.randrange(256)
        elif kind == 2:
            order, number = chance.choice("<>"), chance.choice(TELLING)
            size = chance.choice("BHI")
            number &= {"B": 0xFF, "H": 0xFFFF, "I": 0xFFFFFFFF}[size]
            piece = struct.pack(order + size, number)
            body[at : at + len(piece)] = piece
        elif kind == 3:
            del body[at : at + chance.choice((1, 2, 4, 16, 100, 1000))]
        elif kind == 4:
            body[at:at] = body[at : at + chance.choice((1, 4, 16, 100))]
        elif kind == 5:
            start = chance.randrange(len(other))
            body[at : at + 64] = other[start : start + 64]
        else:
            del body[at:]
    whole = bytes(body)
    return mended(whole) if whole.startswith(b"\x89PNG") and chance.random() < 0.5 else whole


def mended(data: bytes) -> bytes:
    """Return a PNG with right checksums, as far as its chunks can be followed."""
    body, at = bytearray(data), 8
    while at + 12 <= len(body):
        (length,) = struct.unpack_from(">I", body, at)
        if at + 12 + length > len(body):
            break
        struct.pack_into(">I", body, at + 8 + length, zlib.crc32(body[at + 4 : at + 8 + length]))
        at += 12 + length
    return bytes(body)


def outcome(data: bytes, model_number: int, budget: int) -> str:
    """Prepare one file; return how it ended.

    :raises FindingError: if it is not sendable as promised, or took memory that was not there.
    """
    model = FAMILIES[model_number]
    try:
        made = prepare_image(data, model=model, budget_tokens=budget, limits=LIMITS)
    except ImageRejected as rejected:
        if isinstance(rejected.__cause__, MemoryError):
            raise FindingError("it wanted more memory than the limit") from rejected
        return rejected.reason
    with Image.open(BytesIO(made.data)) as sent:
        sent.load()
        if sent.size != (made.width, made.height) or sent.mode not in {"L", "RGB"} or sent.getexif():
            raise FindingError(f"sent {sent.size} {sent.mode}, said {made.width}x{made.height}")
    if made.tokens != prompt_tokens(model, made.width, made.height) or made.tokens > budget:
        raise FindingError(f"{made.tokens} tokens for a budget of {budget}")
    return "passed through" if made.passed_through else "sent"


def work(last: Path, seed: int, seconds: float, tries: int | None, results) -> None:
    """Try files until the time or their number is over; tell what was counted, or what was found."""
    # What Pillow and libtiff say about odd files is no outcome.
    warnings.simplefilter("ignore")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    chance, counts = Random(seed), Counter()
    begun = resident("VmRSS")
    files = [make() for make in seeds().values()]
    for data in files:
        for number in range(len(FAMILIES)):
            outcome(data, number, 3248)
    allowed = resident("VmSize") + ADDRESS_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (allowed, allowed))
    signal.signal(signal.SIGPROF, hang)
    end = time.monotonic() + seconds
    while time.monotonic() < end and (tries is None or counts.total() < tries):
        data = mutated(chance.choice(files), chance.choice(files), chance)
        model_number, budget = chance.randrange(len(FAMILIES)), chance.choice(BUDGETS)
        last.write_bytes(data)
        signal.setitimer(signal.ITIMER_PROF, HANG_SECONDS)
        try:
            counts[outcome(data, model_number, budget)] += 1
        except BaseException:  # noqa: BLE001 - an interrupt, too, is told with its file
            results.put((counts, 0, f"{FAMILIES[model_number].id}, budget {budget}: {traceback.format_exc()}"))
            return
        signal.setitimer(signal.ITIMER_PROF, 0)
        if (taken := resident("VmHWM") - begun) > MEMORY_BYTES:
            results.put((counts, taken, f"it took {taken / 2**20:.0f} MB; the limit is {MEMORY_BYTES / 2**20:.0f} MB"))
            return
    results.put((counts, resident("VmHWM") - begun, None))


def hang(*_: object) -> None:
    raise FindingError(f"it took longer than {HANG_SECONDS} s of the processor")


def resident(name: str) -> int:
    """Return one of this process's sizes in bytes."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition(f"{name}:")[2].split()[0]) * 1024


def main() -> int:
    """Fuzz in a child process; return 0 if nothing was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600, help="default: %(default)s")
    parser.add_argument("--tries", type=int, help="end after so many files")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--file", type=Path, help="try only this file, on every family with every budget")
    parser.add_argument("--keep", type=Path, default=Path("var/fuzz"), help="folder for a file that was found")
    options = parser.parse_args()
    if options.file is not None:
        for number, budget in product(range(len(FAMILIES)), BUDGETS):
            print(FAMILIES[number].id, budget, outcome(options.file.read_bytes(), number, budget))
        return 0
    options.keep.mkdir(parents=True, exist_ok=True)
    last = options.keep / f"seed-{options.seed}.bin"
    results = multiprocessing.get_context("spawn").SimpleQueue()
    child = multiprocessing.get_context("spawn").Process(
        target=work, args=(last, options.seed, options.seconds, options.tries, results)
    )
    child.start()
    child.join(options.seconds + 120)
    ended = (Counter(), 0, f"the process ended with {child.exitcode}")
    counts, taken, found = ended if results.empty() else results.get()
    child.kill()
    print(f"{counts.total()} files, seed {options.seed}: {dict(counts.most_common())}")
    print(f"at most {taken / 2**20:.0f} MB above the process's own; the limit is {MEMORY_BYTES / 2**20:.0f} MB")
    if found:
        print(f"FOUND: {found}; the file is {last}", file=sys.stderr)
        return 1
    last.unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
