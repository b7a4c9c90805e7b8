"""Fill the demo's bucket: with drawn pictures, or with a person's own."""

from __future__ import annotations

import filecmp
import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath

from vision_batch.demo.scenes import SCENES
from vision_batch.enrichment.places import IMAGE_EXTENSIONS
from vision_batch.errors import InputError


def draw_pictures(bucket: Path, *, partitions: Sequence[str], per_partition: int = len(SCENES)) -> None:
    """Draw pictures into the partitions' folders, the first one big; the same arguments give the same bytes.

    A picture that is there already is left as it is.
    """
    for number, partition in enumerate(partitions):
        for position in range(per_partition):
            turn, scene_number = divmod(position, len(SCENES))
            scene = SCENES[scene_number]
            name = PurePath(scene.name)
            file = bucket / partition / (f"{name.stem}-{turn + 1}{name.suffix}" if turn else scene.name)
            if not file.exists():
                data = scene.draw(f"{partition}/{file.name}", big=number == position == 0)
                file.parent.mkdir(parents=True, exist_ok=True)
                part = _part_of(file)
                part.write_bytes(data)
                part.replace(file)


def place_own_pictures(images: Path, bucket: Path, partitions: Sequence[str]) -> int:
    """Copy a person's pictures into the partitions' folders, below the subfolders they come from.

    Which partition a picture belongs to depends on its own path only, so that pictures added later move none. A file
    that is there with the same content is not written again: the time it was written is its version.

    :returns: how many pictures the folder holds.
    :raises InputError: it holds none, or it is the bucket.
    """
    if bucket.resolve().is_relative_to(images.resolve()) or images.resolve().is_relative_to(bucket.resolve()):
        raise InputError(f"{images} and the demo's bucket {bucket} lie within each other: choose another folder")
    found = list(_pictures_in(images))
    if not found:
        raise InputError(f"{images} holds no picture: its name must end with one of {', '.join(IMAGE_EXTENSIONS)}")
    for path in found:
        relative = path.relative_to(images)
        file = bucket / _partition_of(relative, partitions) / relative
        if file.exists() and filecmp.cmp(path, file, shallow=False):
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        part = _part_of(file)
        shutil.copyfile(path, part)
        part.replace(file)
    return len(found)


def holds_drawn_only(bucket: Path) -> bool:
    """Say whether the bucket holds no picture but drawn ones; so does an empty one."""
    stems = tuple(PurePath(scene.name).stem for scene in SCENES)
    return all(path.name.startswith(stems) for path in _pictures_in(bucket))


def _pictures_in(folder: Path) -> Iterator[Path]:
    """Find the files that are meant as pictures, hidden ones passed over, in a stable order."""
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if not hidden and path.suffix.lower() in IMAGE_EXTENSIONS and path.is_file():
            yield path


def _partition_of(relative: Path, partitions: Sequence[str]) -> str:
    digest = hashlib.sha256(os.fsencode(relative.as_posix())).digest()
    return partitions[int.from_bytes(digest[:8], "big") % len(partitions)]


def _part_of(file: Path) -> Path:
    return file.with_name(f".{file.name}.part")
