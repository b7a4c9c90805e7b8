"""Compare how a result is read and joined with reading it through the vendor's SDK, side by side; print ratios.

Targets: with markers at most 2 % of the file's bytes are fetched; the join by the hash of whole requests is at least 5x
as quick as reading through the SDK; memory stays flat. Each way runs in a process of its own, twice as many rows each
second time, so that memory that grows with the file is seen.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from PIL import Image

from vision_batch.service.join import ResultRow, SentRequest, join, marker_line
from vision_batch.service.range_file import RangeFile
from vision_batch.service.request_hash import RequestHash
from vision_batch.service.rows import request_line, results
from vision_batch.service.sync import SyncAIStudioClient
from vision_batch.service.types import ServiceConfig

#: Rows of the larger result, of about 150 KB of image each; the smaller one has half.
ROWS = 1600
ROUNDS = 7
SIDE = 224
Measured = dict[str, float]

FOLDER, KEY, MODEL = "b1gbenchmark00000000", "any-key", "gemma-3-12b-it"
PROMPT = "What does the largest price tag on this shelf say, and what colour is it?\n" + "- a field to answer\n" * 20


def picture(number: int) -> bytes:
    """Draw noise, which no compression makes smaller."""
    target = io.BytesIO()
    noise = random.Random(number).randbytes(3 * SIDE * SIDE)  # noqa: S311 - to draw
    Image.frombytes("RGB", (SIDE, SIDE), noise).save(target, "PNG", compress_level=0)
    return target.getvalue()


def prompt_of(number: int) -> str:
    """Return a prompt as the project asks it."""
    return f"{PROMPT}\n{marker_line(f'{number:08x}')}"


@contextmanager
def emulator(folder: Path) -> Iterator[str]:
    """Run the emulator, quick and with room for the benchmark; give its address."""
    command = [
        sys.executable,
        "-m",
        "vision_batch.emulator",
        "--state",
        str(folder),
        "--end-with-stdin",
        "--speed=20000",
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        assert process.stdin is not None  # noqa: S101
        yield json.loads(process.stdout.readline())["grpc"]
        process.stdin.close()


def client_at(address: str) -> SyncAIStudioClient:
    """Return our client."""
    return SyncAIStudioClient(ServiceConfig(folder_id=FOLDER, api_key=KEY, endpoint=address, tls=False))


def until(look: Callable[[], Any]) -> Any:
    """Wait for the first true value."""
    while not (found := look()):
        time.sleep(0.1)
    return found


def make_result(client: SyncAIStudioClient, folder: Path, rows: int) -> str:
    """Have questions about so many pictures answered; write what was sent, return the result's dataset."""
    path, hashing, sent = folder / "rows.jsonl", RequestHash.new(), []
    with path.open("wb") as file:
        for number in range(rows):
            line = request_line(prompt_of(number), picture(number))
            file.write(line)
            sent.append(hashing.of(json.loads(line)["request"]))
    (folder / f"sent-{rows}.json").write_text(json.dumps(sent))
    dataset = client.create_dataset("bench", "ImageTextToTextGenerationRequest", labels={})
    client.upload(dataset.dataset_id, path)
    path.unlink()
    operation = client.validate(dataset.dataset_id)
    until(lambda: client.validation(operation).done)
    job_id = client.submit(f"gpt://{FOLDER}/{MODEL}/latest", dataset.dataset_id).job_id
    job = until(lambda: (found := client.describe_job(job_id)).status.is_terminal and found)
    return str(job.result_dataset_id)


def requests_of(sent: list[str]) -> list[SentRequest]:
    """Return what was sent, as the join knows it: texts that are all alike where hashes have to tell them apart."""
    return [SentRequest(number, f"{number:08x}", "", found) for number, found in enumerate(sent)]


def ours(address: str, dataset_id: str, sent: list[str], *, marker: bool) -> int:
    """Read and join; return how many requests have their answer."""
    hashing = None if marker else RequestHash.like(sent[0])
    with client_at(address) as client:
        rows = (
            ResultRow(row["text"], row["response"], row.get("request_hash"))
            for batch in results(client, dataset_id, hashing=hashing)
            for row in batch.to_pylist()
        )
        return len(join(requests_of(sent), rows, marker=marker).responses)


def sdk(address: str, dataset_id: str, hashing: RequestHash | None = None) -> int:
    """Read every row through the vendor's SDK, and hash it if wanted; return how many there are."""
    from yandex_ai_studio_sdk import AIStudio

    studio = AIStudio(folder_id=FOLDER, endpoint=address, auth=KEY, verify=False)
    rows = studio.datasets.get(dataset_id).read(timeout=600)
    return len({hashing.of(row["request"]) for row in rows}) if hashing else sum(1 for _ in rows)


WAYS: dict[str, Callable[[str, str, list[str]], int]] = {
    "SDK, read": lambda address, dataset_id, _: sdk(address, dataset_id),
    "SDK, read and hash": lambda address, dataset_id, sent: sdk(address, dataset_id, RequestHash.like(sent[0])),
    "ours, join by hash": lambda address, dataset_id, sent: ours(address, dataset_id, sent, marker=False),
    "ours, join by marker": lambda address, dataset_id, sent: ours(address, dataset_id, sent, marker=True),
}


def measure(way: str, address: str, dataset_id: str, sent: list[str]) -> Measured:
    """Read once in this process; return seconds, seconds of CPU, MB that it took beyond its imports, and MB fetched."""
    import yandex_ai_studio_sdk  # noqa: F401 - so that no way is measured by what it imports

    import vision_batch.service.client
    import vision_batch.service.result_files  # noqa: F401

    fetched = count_fetched()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began, cpu = time.perf_counter(), time.process_time()
    found = WAYS[way](address, dataset_id, sent)
    taken, cpu = time.perf_counter() - began, time.process_time() - cpu
    assert found == len(sent), (found, len(sent))  # noqa: S101 - a benchmark of a wrong answer says nothing
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return {"seconds": taken, "cpu": cpu, "grown": grown, "fetched": sum(fetched) / 1e6}


def count_fetched() -> list[int]:
    """Note the bytes of every file that is closed from now on."""
    fetched: list[int] = []
    close = RangeFile.close

    def noted(file: RangeFile) -> None:
        if not file.closed:
            fetched.append(file.fetched_bytes)
        close(file)

    RangeFile.close = noted  # type: ignore[method-assign]
    return fetched


def measured(address: str, dataset_id: str, sent: Path) -> dict[str, list[Measured]]:
    """Measure every way once a round, each time in a new process, so that a busy machine slows them all down alike.

    The order differs from round to round: whether memory was in use just now makes it cheaper or dearer to the next.
    """
    at = ["--at", address, "--dataset", dataset_id, "--sent", str(sent)]
    found: dict[str, list[Measured]] = {way: [] for way in WAYS}
    for number in range(ROUNDS):
        for way in random.Random(number).sample(list(WAYS), len(WAYS)):  # noqa: S311 - to shuffle
            done = subprocess.run([sys.executable, __file__, "--way", way, *at], check=True, capture_output=True)
            found[way].append(json.loads(done.stdout))
    return found


def middle(rounds: list[Measured], name: str) -> float:
    """Return the median of a figure."""
    return median(each[name] for each in rounds)


def times(others: list[Measured], rounds: list[Measured], name: str) -> str:
    """Return how many times more one way takes than another, round by round: the median, least and most."""
    ratios = [other[name] / this[name] for other, this in zip(others, rounds, strict=True)]
    return f"{median(ratios):5.1f}x ({min(ratios):.1f} to {max(ratios):.1f})"


def compare(folder: Path) -> None:
    """Print how each way does with a result and with one of twice its size, then the ratios that are targets."""
    kept: list[float] = []
    with emulator(folder / "emulator") as address:
        for rows in (ROWS // 2, ROWS):
            with client_at(address) as client:
                dataset_id = make_result(client, folder, rows)
                size = client.describe_dataset(dataset_id).size_bytes / 1e6
            found = measured(address, dataset_id, folder / f"sent-{rows}.json")
            print(f"{rows} rows, {size:.0f} MB, medians of {ROUNDS} rounds:")
            for way, rounds in found.items():
                taken, cpu, grown = (middle(rounds, name) for name in ("seconds", "cpu", "grown"))
                fetched = middle(rounds, "fetched") or size
                print(f"  {way:21}{taken:6.2f} s, {cpu:6.2f} s of CPU, {grown:5.0f} MB kept")
                print(f"  {'':21}{fetched:6.2f} MB fetched ({fetched / size:.2%})")
            kept.append(middle(found["ours, join by hash"], "grown"))
    for name in ("hash", "marker"):
        read, ours = found["SDK, read"], found[f"ours, join by {name}"]
        print(f"  SDK, read / ours, join by {name:6}  {times(read, ours, 'cpu')} of CPU  (target 5)")
        print(f"  {'':33}{times(read, ours, 'seconds')} of time")
    marked = middle(found["ours, join by marker"], "fetched")
    print(f"  fetched with markers              {marked / size:8.2%}  (target 2 %)")
    print(f"  memory, twice the rows, by hash   {kept[1] / kept[0]:6.2f}x  (flat is 1)")


def main() -> int:
    """Compare; with ``--way``, measure one way in this process."""
    parser = argparse.ArgumentParser()
    for name in ("way", "at", "dataset", "sent"):
        parser.add_argument(f"--{name}")
    options = parser.parse_args()
    if options.way:
        sent = json.loads(Path(options.sent).read_text())
        print(json.dumps(measure(options.way, options.at, options.dataset, sent)))
        return 0
    with tempfile.TemporaryDirectory(prefix="vision-batch-bench-") as folder:
        compare(Path(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
