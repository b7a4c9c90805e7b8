"""docker-compose.yml, Dockerfile and .env without Docker: what the file says, and that nothing in it is a secret."""

from __future__ import annotations

import re
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml
from composition import NotSetError, Service, read_services, read_settings, variables

from vision_batch import __version__
from vision_batch.enrichment.reader import load_declaration

STAND_INS = ("minio", "emulator")
PARTS = ("api-server", "scheduler", "dag-processor", "triggerer", "worker-1", "worker-2")


def check_schema(path: Path) -> subprocess.CompletedProcess[str]:
    words = ("-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(path))
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=200, check=False)


def make_env(folder: Path, project: Path) -> dict[str, str]:
    subprocess.run([sys.executable, str(project / "deploy" / "make_env.py"), str(folder)], check=True, timeout=200)
    return read_settings(folder / ".env")


@pytest.fixture
def text(project) -> str:
    return (project / "docker-compose.yml").read_text()


@pytest.fixture
def example(project) -> dict[str, str]:
    return read_settings(project / ".env.example")


@pytest.fixture
def made(project, tmp_path) -> dict[str, str]:
    (tmp_path / ".env.example").write_text((project / ".env.example").read_text())
    return make_env(tmp_path, project)


@pytest.fixture
def services(project, made) -> dict[str, Service]:
    return read_services(project, made)


def test_it_is_a_compose_file(project, text, tmp_path):
    done = check_schema(project / "docker-compose.yml")
    assert done.returncode == 0, done.stdout
    (tmp_path / "docker-compose.yml").write_text(text.replace("healthcheck:", "heathcheck:"))
    assert check_schema(tmp_path / "docker-compose.yml").returncode == 1


def test_the_example_names_every_variable_and_no_other(text, example):
    assert set(variables(text)) == set(example) - {"COMPOSE_PROFILES"}


def test_without_a_secret_nothing_starts_and_no_secret_has_a_default(project, made, example):
    secret = [name for name, value in made.items() if value and not example[name]]
    assert len(secret) == 10
    for name in secret:
        with pytest.raises(NotSetError, match=f"{name}: run make env"):
            read_services(project, {**made, name: ""})
    found = variables((project / "docker-compose.yml").read_text())
    assert {how for name in secret for how in found[name]} == {":?"}


def test_every_image_has_a_version(project, services):
    for service in services.values():
        assert re.fullmatch(r"[a-z0-9./-]+:[A-Za-z]*\.?[0-9][\w.-]+", service.image), service.image
        assert not service.is_ours or service.image == f"vision-batch:{__version__}"
    bases = re.findall(r"^FROM (\S+)", (project / "Dockerfile").read_text(), re.MULTILINE)
    assert bases
    assert all(re.fullmatch(r"python:3\.11\.\d+-slim-bookworm", base) for base in bases)


def test_everything_that_stays_up_has_a_health_check(services):
    assert {name for name, service in services.items() if not service.health} == {"init"}
    assert {name for name, service in services.items() if service.profiles} == set(STAND_INS)


def test_secrets_reach_only_what_needs_them(services, made):
    def holders(name: str) -> set[str]:
        return {
            service.name
            for service in services.values()
            if any(made[name] in text for text in (*service.environ.values(), *service.command))
        }

    assert holders("POSTGRES_PASSWORD") == {"postgres"}
    assert holders("AIRFLOW_DATABASE_PASSWORD") == {"postgres", "init", *PARTS} - {"worker-1", "worker-2"}
    assert holders("REDIS_PASSWORD") == {"redis", "scheduler", "worker-1", "worker-2"}
    assert holders("ADMIN_PASSWORD") == {"api-server"}
    callers = {"api-server", "triggerer", "worker-1", "worker-2"}
    assert holders("AI_STUDIO_API_KEY") == callers
    assert holders("WAREHOUSE_PASSWORD") == {"postgres", *callers}


def test_it_listens_on_this_machine_only(text):
    for service in yaml.safe_load(text)["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))


def test_workers_share_no_folder_that_is_written(services):
    for name in ("worker-1", "worker-2"):
        shared = [volume for volume in services[name].volumes if ":" in volume]
        assert shared
        assert all(volume.endswith(":ro") for volume in shared)
        assert services[name].environ["TMPDIR"] in services[name].volumes


def test_the_image_holds_the_locked_packages_and_what_is_copied_and_runs_as_nobody_special(project):
    text = (project / "Dockerfile").read_text()
    assert "--require-hashes -r /tmp/requirements.txt" in text
    assert re.findall(r"^USER (\S+)", text, re.MULTILINE) == ["50000:0"]
    allowed = [line[1:] for line in (project / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for source in re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE):
        for name in source.split():
            assert (project / name).exists()
            assert any(fnmatch(name, pattern) for pattern in allowed), name


def test_the_clusters_declarations_keep_nothing_on_a_machine(project, services):
    include = project / "deploy" / "include"
    for path in (include / "enrichments").glob("*.yaml"):
        declaration = load_declaration(path, include_folder=include, environ=services["worker-1"].environ)
        assert all(place.startswith("s3://") for place in declaration.places())
        assert declaration.destination.path is None


def test_made_secrets_are_new_private_and_kept(project, tmp_path, made, example):
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600
    other = tmp_path / "other"
    other.mkdir()
    (other / ".env.example").write_text((project / ".env.example").read_text())
    (other / ".env").write_text("AI_STUDIO_ENDPOINT=\nAI_STUDIO_API_KEY=real-key\nMINE=1\nADMIN_PASSWORD=\n")
    again = make_env(other, project)
    assert (again["AI_STUDIO_ENDPOINT"], again["AI_STUDIO_API_KEY"], again["MINE"]) == ("", "real-key", "1")
    new = [name for name in made if not example[name] and name != "AI_STUDIO_API_KEY"]
    assert all(len(again[name]) >= 44 and again[name] != made[name] for name in new)
    assert make_env(other, project) == again
