"""Every point at which a run can be killed, and every way in which it can go on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from lab import DAYS, KILLED, OTHER_DAY, Lab, kill

#: Points at which the process kills itself, in the order of a run.
CRASH_POINTS = (
    "after_manifest",
    "before_claim",
    "after_claim",
    "before_dataset_create",
    "after_dataset_create",
    "after_upload",
    "after_rows",
    "after_validate",
    "before_dataset_file",
    "after_dataset_file",
    "before_attempt",
    "after_attempt",
    "after_reply",
    "after_job_file",
    "during_wait",
    "before_commit",
    "after_commit",
    "after_loaded",
    "during_clean",
    "before_close",
    "before_unclaim",
    "after_announced",
)

#: Points inside of calls, where the process is killed from outside while the emulator lets it hang.
HANGING_POINTS = {
    "while_asking_for_the_upload_url": ("failed_call", {"method": "GetUploadDraftUrl", "how": "hang"}),
    "while_the_upload_hangs": ("upload_hangs", {}),
    "between_two_parts_of_the_upload": ("upload_hangs", {"stored": 1}),
    "while_joining_the_parts_of_the_upload": ("failed_call", {"method": "FinishMultipartUploadDraft", "how": "hang"}),
    "while_starting_the_validation": ("failed_call", {"method": "Validate", "how": "hang"}),
    "after_the_job_was_made_before_the_reply": ("reply_lost", {"how": "hang"}),
}

#: Those at which uploads come in so many parts, however small.
PARTS = {"between_two_parts_of_the_upload": 2, "while_joining_the_parts_of_the_upload": 2}

POINTS = (*CRASH_POINTS, *HANGING_POINTS)


def crash(lab: Lab, point: str) -> None:
    """Let a first run die at a point."""
    if point in CRASH_POINTS:
        status = lab.run("first", crash_at=point)
        assert status == KILLED, f"the run was not killed at {point}, it ended with {status}\n{lab.log()}"
        return
    scenario, params = HANGING_POINTS[point]
    lab.options |= {"parts": PARTS.get(point)}
    lab.emulator.scenario(scenario, **params)
    pid = lab.workers.start(lab.order("first"))
    lab.until(lambda: not lab.emulator.waiting())
    kill(pid)
    assert lab.ended(pid) == KILLED
    lab.emulator.clear(scenario)


def retry(lab: Lab) -> list[int]:
    """Run the killed task again, and the ones after it."""
    return [lab.run("first")]


def clear(lab: Lab) -> list[int]:
    """Run everything of the same DAG run again; what its tasks had returned is gone."""
    lab.clear_xcoms()
    return [lab.run("first")]


def new_run(lab: Lab) -> list[int]:
    """Run another DAG run over the same partitions."""
    return [lab.run("second")]


def reordered(lab: Lab) -> list[int]:
    """Run the shards in another order, so that every map index means another shard."""
    lab.clear_xcoms()
    return [lab.run("first", reverse=True)]


def two_at_once(lab: Lab) -> list[int]:
    """Run two DAG runs over the same partitions at the same time."""
    return lab.at_once("second", "third")


def adoption(lab: Lab) -> list[int]:
    """Let a run over another partition find what the dead run left."""
    return [lab.run("second", partitions=(OTHER_DAY,), adopt_after_seconds=0)]


WAYS: dict[str, Callable[[Lab], list[int]]] = {
    "retry": retry,
    "clear": clear,
    "new run": new_run,
    "re-ordered": reordered,
    "two at once": two_at_once,
    "adoption": adoption,
}


def outcome(lab: Lab, point: str, way: str) -> list[str]:
    """Crash a run, go on, and say everything that is not as it must be. A last run finds nothing left to do."""
    crash(lab, point)
    problems = [f"a run that went on ended with {status}" for status in WAYS[way](lab) if status != 0]
    if (status := lab.run("last")) != 0:
        problems.append(f"the last run ended with {status}")
    return [*problems, *lab.problems(2 * len(DAYS)), *told(lab)]


def told(lab: Lab) -> list[str]:
    """Say which days were not announced exactly once."""
    events = Counter(key for name, key in lab.events() if name.endswith("/partitions"))
    wanted = dict.fromkeys(DAYS, 1)
    return [] if events == wanted else [f"announced: {dict(events)}, not {wanted}"]
