import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from vision_batch.demo.processes import Component, Processes, end_leftovers, read_record, same_process
from vision_batch.errors import ServiceUnavailableError

# Starts a child that ignores polite signals, says so, and waits.
STUBBORN = """
import signal, subprocess, sys, time
child = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); print('child', flush=True); time.sleep(600)"
subprocess.Popen([sys.executable, "-c", child])
print("parent", flush=True)
time.sleep(600)
"""
# Its child survives it.
DYING = STUBBORN.replace("time.sleep(600)\n", "time.sleep(0.3); sys.exit('out of luck')\n")


@pytest.fixture
def processes(tmp_path):
    group = Processes(tmp_path / "log", tmp_path / "stack.json")
    yield group
    group.stop_all(grace_seconds=1)


def component(name: str, code: str, **more) -> Component:
    return Component(name, (sys.executable, "-c", code), dict(os.environ), **more)


def wait_for(condition, seconds: float = 120):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def members(pid: int) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if os.getsid(process.pid) == pid and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (OSError, psutil.Error):
            continue
    return found


def both_speak(processes: Processes, name: str) -> bool:
    text = processes.log_path(name).read_text()
    return "parent" in text and "child" in text


def test_stopping_ends_children_that_ignore_the_signal(processes):
    processes.start(component("one", STUBBORN))
    wait_for(lambda: both_speak(processes, "one"))
    pid = processes.pid("one")
    assert len(members(pid)) == 2

    processes.stop("one", grace_seconds=5)

    assert members(pid) == []
    assert not processes.alive("one")


def test_a_child_whose_parent_died_first_is_ended_too(processes):
    processes.start(component("one", DYING))
    wait_for(lambda: both_speak(processes, "one"))
    pid = processes.pid("one")
    wait_for(lambda: not processes.alive("one"))
    assert len(members(pid)) == 1

    processes.stop_all(grace_seconds=1)

    assert members(pid) == []


def test_a_death_is_reported_with_the_end_of_the_log(processes):
    processes.start(component("one", "raise SystemExit('out of luck')"))
    wait_for(lambda: not processes.alive("one"))
    with pytest.raises(ServiceUnavailableError, match=r"one ended by itself with code 1(.|\n)*out of luck"):
        processes.check()


def test_one_component_is_killed_and_started_again_while_the_others_go_on(processes):
    processes.start(component("one", STUBBORN))
    processes.start(component("two", STUBBORN))
    first, other = processes.pid("one"), processes.pid("two")
    wait_for(lambda: both_speak(processes, "one"))

    processes.kill("one")
    assert members(first) == []
    processes.restart("one")

    assert processes.alive("one")
    assert processes.pid("one") != first
    assert processes.pid("two") == other
    processes.check()


def test_higher_stages_end_before_lower_ones(processes, tmp_path):
    told = tmp_path / "told"
    code = (
        "import signal, sys, time\n"
        f"def end(*_): open({str(told)!r}, 'a').write(sys.argv[1] + ' '); sys.exit()\n"
        "signal.signal(signal.SIGTERM, end)\nprint('ready', flush=True)\ntime.sleep(600)"
    )
    for stage, name in enumerate(("low", "high")):
        command = (sys.executable, "-c", code, name)
        processes.start(Component(name, command, dict(os.environ), stop_signal=signal.SIGTERM, stage=stage))
        wait_for(lambda name=name: "ready" in processes.log_path(name).read_text())

    processes.stop_all()

    assert told.read_text().split() == ["high", "low"]


def test_the_record_names_what_runs_and_goes_away_with_it(processes, tmp_path):
    processes.start(component("one", STUBBORN))
    processes.note(url="http://127.0.0.1:1")
    record = read_record(tmp_path / "stack.json")
    assert record["pid"] == os.getpid()
    assert record["url"] == "http://127.0.0.1:1"
    assert same_process(record["components"]["one"]).pid == processes.pid("one")
    assert same_process({**record["components"]["one"], "created": 1.0}) is None

    processes.stop_all(grace_seconds=1)

    assert not (tmp_path / "stack.json").exists()


STARTER = """
import os, signal, sys, time
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in what a script runs in the background
from vision_batch.demo.processes import Component, Processes
folder = Path(sys.argv[1])
group = Processes(folder / "log", folder / "stack.json")
group.start(Component("one", (sys.executable, "-c", sys.argv[2]), dict(os.environ)))
print(group.pid("one"), flush=True)
time.sleep(600)
"""


def start_and_kill_the_starter(folder: Path, **environ: str) -> psutil.Process:
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTER, str(folder), STUBBORN],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **environ},
    )
    with starter:
        component = psutil.Process(int(starter.stdout.readline()))
        log = folder / "log" / "one.log"
        wait_for(lambda: "child" in log.read_text() and "parent" in log.read_text())
        starter.kill()
    return component


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs util-linux")
def test_a_component_ends_with_a_starter_that_was_killed(tmp_path):
    component = start_and_kill_the_starter(tmp_path)
    # Ids come back on a busy machine: another process with this one's is not it.
    wait_for(lambda: not component.is_running() or component.status() == psutil.STATUS_ZOMBIE)
    end_leftovers(tmp_path / "stack.json")
    for process in members(component.pid):
        process.kill()


def test_what_a_killed_starter_left_is_ended_by_the_next_start(tmp_path):
    pid = start_and_kill_the_starter(tmp_path, PATH="").pid
    assert len(members(pid)) == 2

    assert end_leftovers(tmp_path / "stack.json") == ["one"]

    assert members(pid) == []
    assert end_leftovers(tmp_path / "stack.json") == []
