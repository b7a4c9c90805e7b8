"""What a person types: the demo twice, with their own pictures, interrupted, and the stack with its UI."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import httpx
import pillow_heif
import psutil
import pytest
from PIL import Image

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def command(*words: str, folder: Path) -> list[str]:
    return [sys.executable, "-m", "vision_batch.demo", *words, "--folder", str(folder)]


def demo(*words: str, folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command(*words, folder=folder), capture_output=True, text=True, check=False, env={**os.environ, **environ}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert running_below(folder) == []
    return done


def running_below(folder: Path) -> list[str]:
    """Processes that name the folder in their command line or keep a file of it open."""
    found = []
    for process in psutil.process_iter():
        try:
            words = [*process.cmdline(), *(file.path for file in process.open_files())]
        except (psutil.Error, OSError):
            continue
        if process.pid != os.getpid() and any(str(folder) in word for word in words):
            found.append(" ".join(process.cmdline()))
    return found


def answers(folder: Path) -> list[dict]:
    with duckdb.connect(str(folder / "warehouse.duckdb"), read_only=True) as connection:
        return connection.sql("select * from enrichment.photo_quality order by image_uri").to_arrow_table().to_pylist()


def pictures(folder: Path) -> list[str]:
    return sorted(f"file://{path}" for path in (folder / "bucket").rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Give a folder that only root may enter, with a space and Cyrillic in its path."""
    folder = tmp_path_factory.mktemp("private") / "папка demo"
    folder.parent.chmod(0o700)
    return folder


def test_an_interrupted_demo_leaves_nothing_running(folder):
    with subprocess.Popen(command("run", folder=folder), stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if "Backfill of" in line:
                break
        while not list(folder.rglob("attempt-1.json")) and process.poll() is None:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        process.stdout.read()
    assert process.returncode == 130
    assert running_below(folder) == []
    assert not (folder / "stack.json").exists()


def test_the_demo_answers_every_picture_after_an_interruption_too(folder):
    done = demo("run", folder=folder)
    found = answers(folder)
    assert [row["image_uri"] for row in found] == pictures(folder)
    assert len(found) == 42
    assert len({row["partition"] for row in found}) == 7
    assert len({row["job_id"] for row in found}) == 7
    assert "Each of the 42 images has its row" in done.stdout
    assert "7 jobs" in done.stdout


def test_a_second_demo_adds_no_job_and_no_row_and_says_so(folder):
    before = answers(folder)
    done = demo("run", folder=folder)
    assert "No job and no row was added" in done.stdout
    assert answers(folder) == before


def test_the_stack_with_its_ui_is_ended_from_another_terminal(folder):
    with subprocess.Popen(command("up", folder=folder), stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if "Airflow's UI" in line:
                break
        url = json.loads((folder / "stack.json").read_text())["url"]
        assert url in line
        assert "<html" in httpx.get(url, follow_redirects=True, timeout=30).text
        second = subprocess.run(command("run", folder=folder), capture_output=True, text=True, check=False)
        assert second.returncode == 1
        assert "already" in second.stdout
        assert "make down" in second.stdout

        down = demo("down", folder=folder, PATH=os.environ["PATH"])
        process.stdout.read()
    assert "has ended" in down.stdout
    assert running_below(folder) == []
    assert "Nothing was running" in demo("down", folder=folder).stdout


@pytest.fixture(scope="module")
def photographs(tmp_path_factory) -> Path:
    """Give a person's folder: formats, subfolders, odd names, broken files, and files that are no pictures."""
    folder = tmp_path_factory.mktemp("мои фото")
    picture = Image.radial_gradient("L").convert("RGB").resize((700, 500))
    (folder / "2019").mkdir()
    picture.save(folder / "a photo.JPG")
    picture.rotate(90, expand=True).save(folder / "2019" / "вид #1 100%.png")
    pillow_heif.from_pillow(picture.point(lambda value: 255 - value)).save(folder / "2019" / "IMG_0001.HEIC")
    (folder / "2019" / "cut.jpg").write_bytes((folder / "a photo.JPG").read_bytes()[:3000])
    (folder / "empty.png").touch()
    (folder / "text.jpeg").write_text("no picture")
    (folder / "notes.txt").write_text("not meant as a picture")
    return folder


STATUSES = {
    "a photo.JPG": "answered",
    "вид #1 100%.png": "answered",
    "IMG_0001.HEIC": "answered",
    "cut.jpg": "rejected",
    "empty.png": "rejected",
    "text.jpeg": "rejected",
}


def statuses(folder: Path) -> dict[str, str]:
    return {Path(row["image_uri"]).name: row["status"] for row in answers(folder)}


def test_the_demo_takes_a_persons_own_pictures(tmp_path, photographs):
    done = demo("run", "--images", str(photographs), folder=tmp_path / "demo")
    assert statuses(tmp_path / "demo") == STATUSES
    assert "Each of the 6 images has its row" in done.stdout


def test_one_job_at_a_service_is_priced_agreed_to_and_never_paid_for_twice(tmp_path, photographs, emulator):
    service = emulator("--api-key", "the-real-key", "--folder", "b1greal")
    environ = {
        **os.environ,
        "AI_STUDIO_API_KEY": "the-real-key",
        "AI_STUDIO_FOLDER_ID": "b1greal",
        "AI_STUDIO_ENDPOINT": service.grpc,
        "AI_STUDIO_TLS": "false",
        "AI_STUDIO_UNIT_PRICE": "0.2",
    }

    def real(answer: str) -> tuple[int, str]:
        words = [sys.executable, "-m", "vision_batch.demo", "real", "--real-folder", str(tmp_path / "real")]
        done = subprocess.run(
            [*words, "--images", str(photographs)],
            input=answer,
            env=environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert "the-real-key" not in done.stdout + done.stderr
        return done.returncode, done.stdout

    code, output = real("no\n")
    assert code == 1
    assert "200,000 tokens" in output
    assert "40 at your price" in output
    assert "nothing was paid" in output
    assert service.bill() == []

    code, output = real("yes\n")
    assert code == 0, output
    assert statuses(tmp_path / "real") == STATUSES
    assert [job["rows"] for job in service.bill()] == [3]

    code, output = real("")
    assert code == 0, output
    assert "nothing will be sent or paid" in output
    assert len(service.bill()) == 1
