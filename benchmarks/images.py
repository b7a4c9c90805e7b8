"""Measure image preparation beside the naive Pillow way: ``make bench``. Prints ratios, of CPU time and of memory.

Each way runs in processes of its own, in turns; the quietest round counts, because other programs only add time.
Imports that one way does not need stand in functions: they would count as its memory.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps
from targets import FLAT, Target, verdict

from vision_batch.images.budget import fit
from vision_batch.images.prepare import prepare_image
from vision_batch.models import Model, get_model

ROUNDS = 4
QUALITY = 90
QWEN, DEEPSEEK, GEMMA = map(get_model, ("qwen2.5-vl-7b-instruct", "deepseek-vl2", "gemma-3-12b-it"))
#: Tokens for an image that give a target of about 1000 pixels on Qwen, and that a usual question leaves.
THOUSAND_PIXELS = 912
WHOLE_WINDOW = 3248
#: Images of the long run, and how many different pictures they are made of.
MANY, DISTINCT = 10_000, 40

Way = Callable[[bytes, Model, int], bytes]


def photograph(width: int, height: int, seed: int = 1) -> Image.Image:
    """Draw what cameras see: structure of every size, the finer the fainter, as in natural pictures."""
    import numpy as np

    chance, total = np.random.default_rng(seed), np.zeros((height, width, 3), np.float32)
    for octave in range(9):
        rows, columns = (max(2, (side << octave) // 1024 + 2) for side in (height, width))
        coarse = Image.fromarray(chance.integers(0, 256, (rows, columns, 3), dtype=np.uint8))
        total += np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.float32) * 0.62**octave
    total -= total.min()
    return Image.fromarray((total * (255 / total.max())).astype(np.uint8))


def jpeg(image: Image.Image, **options: Any) -> bytes:
    """Encode as a camera would."""
    file = BytesIO()
    image.save(file, "JPEG", **{"quality": 88, **options})
    return file.getvalue()


def naive(data: bytes, model: Model, budget: int) -> bytes:
    """Do what everybody writes first: open, turn, shrink with LANCZOS, save."""
    image = ImageOps.exif_transpose(Image.open(BytesIO(data)))
    target = fit(model, *image.size, budget)
    return jpeg(image.resize(target, Image.Resampling.LANCZOS), quality=QUALITY)


def reencode(data: bytes, model: Model, budget: int) -> bytes:  # noqa: ARG001 - one signature for all ways
    """Decode and encode again, what is done to small pictures where nobody looks."""
    return jpeg(Image.open(BytesIO(data)), quality=QUALITY)


def ours(data: bytes, model: Model, budget: int) -> bytes:
    """Prepare as the project does."""
    return prepare_image(data, model=model, budget_tokens=budget).data


WAYS: dict[str, Way] = {"naive": naive, "reencode": reencode, "ours": ours}


def similarity(one: Image.Image, other: Image.Image) -> float:
    """Return SSIM of two pictures' luma (Wang and others 2004), with plain windows of 7 x 7."""
    import numpy as np

    size, dim, bright = 7, (0.01 * 255) ** 2, (0.03 * 255) ** 2
    first, second = (np.asarray(image.convert("L"), np.float64) for image in (one, other))

    def mean(values: Any) -> Any:
        sums = np.pad(values, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
        return (sums[size:, size:] - sums[:-size, size:] - sums[size:, :-size] + sums[:-size, :-size]) / size**2

    mean1, mean2 = mean(first), mean(second)
    spread1, spread2 = mean(first * first) - mean1**2, mean(second * second) - mean2**2
    shared = mean(first * second) - mean1 * mean2
    top = (2 * mean1 * mean2 + dim) * (2 * shared + bright)
    return float(np.mean(top / ((mean1**2 + mean2**2 + dim) * (spread1 + spread2 + bright))))


def measure(way: str, file: str, model_id: str, budget: int, repeats: int) -> None:
    """Run one way in this process; print its CPU milliseconds an image and the peak of its memory in MB."""
    data, model = Path(file).read_bytes(), get_model(model_id)
    WAYS[way](data, model, budget)
    began = time.process_time()
    for _ in range(repeats):
        WAYS[way](data, model, budget)
    spent = time.process_time() - began
    print(json.dumps({"ms": 1000 * spent / repeats, "mb": peak_memory()}))


def peak_memory() -> float:
    """Return this process's peak in MB; ``getrusage`` would begin with the parent's."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def best(ways: tuple[str, ...], file: Path, model: Model, budget: int, repeats: int) -> dict[str, dict[str, float]]:
    """Measure each way in processes of its own, in turns; keep the quickest round and the least peak."""
    found: dict[str, dict[str, float]] = {}
    for _ in range(ROUNDS):
        for way in ways:
            command = [sys.executable, __file__, "measure", way, str(file), model.id, str(budget), str(repeats)]
            now = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            before = found.get(way, now)
            found[way] = {name: min(now[name], before[name]) for name in now}
    return found


def tell(title: str, first: dict[str, float], second: dict[str, float], more: str = "") -> tuple[float, float]:
    """Print one comparison; return how much less CPU the second takes, and its share of the first one's memory."""
    cpu, memory = first["ms"] / second["ms"], second["mb"] / first["mb"]
    print(f"{title:<44} CPU {cpu:5.1f} x less ({first['ms']:.1f} -> {second['ms']:.1f} ms), ", end="")
    print(f"peak memory {memory:.2f} of it ({first['mb']:.0f} -> {second['mb']:.0f} MB){more}")
    return cpu, memory


def large(folder: Path) -> list[Target]:
    """Shrink photographs of 12 megapixels, to about 1000 pixels, which has targets, and to what each family is sent."""
    ratios: list[tuple[float, float]] = []
    file = folder / "12mp.jpg"
    file.write_bytes(jpeg(photograph(4000, 3000)))
    for title, model, budget in (
        ("12 MP to about 1000 px", QWEN, THOUSAND_PIXELS),
        ("12 MP to what Qwen gets", QWEN, WHOLE_WINDOW),
        ("12 MP to what DeepSeek gets", DEEPSEEK, WHOLE_WINDOW),
        ("12 MP to what Gemma gets", GEMMA, WHOLE_WINDOW),
    ):
        width, height = fit(model, 4000, 3000, budget)
        found = best(("naive", "ours"), file, model, budget, 5)
        ratios.append(tell(f"{title}, {width}x{height}", found["naive"], found["ours"]))
    cpu, memory = ratios[0]
    return [
        Target("CPU: 12 MP to about 1000 px, naive / ours", cpu, least=7),
        Target("memory: the same, ours / naive", memory, most=1 / 3),
    ]


def medium(folder: Path) -> list[Target]:
    """Shrink photographs of 2 megapixels; compare both ways with the picture they were made of."""
    original, file = photograph(3264, 2448), folder / "2mp.jpg"
    file.write_bytes(jpeg(original.resize((1632, 1224), Image.Resampling.LANCZOS)))
    target = fit(QWEN, 1632, 1224, THOUSAND_PIXELS)
    truth = original.resize(target, Image.Resampling.LANCZOS)
    made = {way: Image.open(BytesIO(WAYS[way](file.read_bytes(), QWEN, THOUSAND_PIXELS))) for way in ("naive", "ours")}
    likeness = {way: similarity(truth, image) for way, image in made.items()}
    found = best(("naive", "ours"), file, QWEN, THOUSAND_PIXELS, 8)
    more = f"; SSIM {likeness['ours']:.4f}, naive {likeness['naive']:.4f}"
    cpu, _ = tell(f"2 MP to {target[0]}x{target[1]}", found["naive"], found["ours"], more)
    return [Target("CPU: 2 MP to about 1000 px, naive / ours", cpu, least=1.3)]


def small(folder: Path) -> list[Target]:
    """Pass through what fits, where the naive way encodes again."""
    file = folder / "small.jpg"
    file.write_bytes(jpeg(photograph(640, 480)))
    found = best(("reencode", "ours"), file, QWEN, WHOLE_WINDOW, 100)
    cpu, _ = tell("0.3 MP passed through", found["reencode"], found["ours"])
    return [Target("CPU: small pictures, encoded again / passed through", cpu, least=20)]


def many(folder: Path) -> list[Target]:
    """Spool many images as the task ``prepare`` does, in a process of its own that looks at its memory meanwhile."""
    for number in range(DISTINCT):
        picture = photograph(1280, 960, number)
        (folder / f"{number}.jpg").write_bytes(jpeg(picture, progressive=bool(number % 2)))
    command = [sys.executable, __file__, "spool", str(folder), str(MANY)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    early, late = found["mb"][: len(found["mb"]) // 10], found["mb"][len(found["mb"]) // 10 :]
    print(
        f"{found['images']:,} images spooled, {found['requests']:,} requests: peak memory of the last nine tenths "
        f"{max(late) / max(early):.2f} of the first tenth's ({max(early):.0f} MB); {found['rate']:.0f} images a second"
    )
    return [Target("memory: last nine tenths / first tenth", max(late) / max(early), most=FLAT)]


def spool(folder: Path, number: int) -> None:
    """Prepare so many images that differ in their last bytes; print the memory while the time went by."""
    from vision_batch.steps.spool import spool_requests

    resources, shard = claimed(folder, number)
    samples: list[float] = []
    done = threading.Event()

    def look() -> None:
        while not done.wait(0.2):
            samples.append(memory_now())

    watcher = threading.Thread(target=look)
    watcher.start()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="vision-batch-bench-") as spooled:
        made = spool_requests(resources, shard, Path(spooled))
    rate = len(made.rows) / (time.monotonic() - began)
    done.set()
    watcher.join()
    print(json.dumps({"images": len(made.rows), "requests": made.requests, "rate": rate, "mb": samples}))


def claimed(folder: Path, number: int) -> tuple[Any, Any]:
    """Return an enrichment with one shard of so many items, each with its own content."""
    from vision_batch.enrichment.reader import load_declaration
    from vision_batch.steps.claim import claim
    from vision_batch.steps.plan import plan
    from vision_batch.steps.resources import Resources

    pictures = [file.read_bytes() for file in sorted(folder.glob("*.jpg"))]
    bucket = folder / "bucket" / "2026-11-22"
    bucket.mkdir(parents=True)
    for item in range(number):
        (bucket / f"{item:06}.jpg").write_bytes(pictures[item % len(pictures)] + item.to_bytes(8, "big"))
    places = {"IMAGES": f"file://{folder}/bucket", "WORK": f"file://{folder}/work", "WAREHOUSE": f"{folder}/w.duckdb"}
    environ = {f"VISION_BATCH_{name}": place for name, place in places.items()}
    include = Path(__file__).parents[1] / "include"
    declaration = load_declaration(
        include / "enrichments" / "photo_quality.yaml", include_folder=include, environ=environ
    )
    changes = {"model": DEEPSEEK.id, "options": declaration.options.model_copy(update={"max_tokens": 2000})}
    resources = Resources(declaration.model_copy(update=changes))
    [key] = claim(resources, plan(resources, ("2026-11-22",)).uri, ("2026-11-22",), "bench").shards
    return resources, resources.shard(key)


def memory_now() -> float:
    """Return this process's resident memory in MB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 2**20


def main() -> int:
    """Run everything and return the exit code, or one measurement for another process of this program."""
    if sys.argv[1:2] == ["measure"]:
        _, _, way, file, model, budget, repeats = sys.argv
        measure(way, file, model, int(budget), int(repeats))
        return 0
    if sys.argv[1:2] == ["spool"]:
        spool(Path(sys.argv[2]), int(sys.argv[3]))
        return 0
    targets: list[Target] = []
    for part in (large, medium, small, many):
        with tempfile.TemporaryDirectory(prefix="vision-batch-bench-") as name:
            targets += part(Path(name))
    return verdict(*targets)


if __name__ == "__main__":
    sys.exit(main())
