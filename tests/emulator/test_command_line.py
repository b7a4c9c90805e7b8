"""What a person sees who starts the emulator, also in a wrong way."""

import json
import subprocess
import sys

import httpx
import pytest

from vision_batch.emulator.control_http import ControlHttp
from vision_batch.emulator.main import _parser
from vision_batch.emulator.scenarios import KINDS
from vision_batch.emulator.settings import QUOTAS


def run(*options):
    command = [sys.executable, "-m", "vision_batch.emulator", *map(str, options)]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, stdin=subprocess.DEVNULL, check=False)


@pytest.fixture(scope="module")
def running(emulators):
    return emulators()


def test_a_folder_belongs_to_one_emulator(running):
    ended = run("--state", running.state)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert f"another emulator runs on {running.state}" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_state_is_a_folder(tmp_path):
    path = tmp_path / "state"
    path.touch()
    ended = run("--state", path)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert f"--state {path} is a file; name a folder" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("which", ["grpc", "http"])
def test_a_port_belongs_to_one_emulator(running, tmp_path, which):
    ended = run("--state", tmp_path, f"--{which}-port", getattr(running, which).rpartition(":")[2])
    assert ended.returncode == 1
    assert f"choose another --{which}-port" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_it_gives_clients_the_name_at_which_it_listens(emulator):
    named = emulator("--host", "localhost")
    assert named.grpc.startswith("localhost:")
    assert httpx.get(f"{named.http}/_emulator/health", trust_env=False).json()["status"] == "ok"


def test_a_host_that_is_not_this_machine_is_told(tmp_path):
    ended = run("--state", tmp_path, "--host", "192.0.2.1")
    assert ended.returncode == 1
    assert "cannot listen on 192.0.2.1" in ended.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--speed", "0"], "0 is not above 0"),
        (["--speed", "fast"], "'fast' is no number"),
        (["--token-seconds", "inf"], "inf is not above 0"),
        (["--grpc-port", "65536"], "'65536' is no port; allowed: 0 to 65535"),
        (["--http-port", "-1"], "'-1' is no port"),
        (["--window", "gemma=1"], "there is no model 'gemma'; known are deepseek-vl2"),
        (["--quota", "jobs=1"], "there is no quota 'jobs'; known are jobs_per_hour"),
        (["--window", "gemma"], "'gemma' is not NAME=NUMBER"),
        ([], "the following arguments are required: --state"),
    ],
)
def test_wrong_usage(tmp_path, options, message):
    ended = run(*options, *(["--state", tmp_path] if options else []))
    assert ended.returncode == 2
    assert message in ended.stderr


@pytest.mark.parametrize(
    ("option", "content", "message"),
    [
        ("--authorized-key", "{}", "is not the JSON file of an authorized key"),
        ("--authorized-key", "no json", "is not the JSON file of an authorized key"),
        ("--scenario", '{"name": "rain"}', "there is no scenario 'rain'; known are shuffled_rows"),
        ("--scenario", '{"name": "canceled", "params": {"day": 1}}', "canceled has no parameter day; allowed: seconds"),
        ("--scenario", "no json", "Expecting value"),
    ],
)
def test_wrong_files(tmp_path, option, content, message):
    path = tmp_path / "file.json"
    path.write_text(content)
    ended = run("--state", tmp_path / "state", option, path)
    assert ended.returncode == 1
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr


def test_scenarios_of_a_file_are_active_once(emulator, tmp_path):
    path = tmp_path / "scenarios.json"
    path.write_text(json.dumps([{"name": "canceled"}, {"name": "foreign_rows", "times": None, "params": {"count": 2}}]))
    started = emulator("--scenario", str(path))
    page = f"{started.http}/_emulator/scenario"
    assert [each["name"] for each in httpx.get(page, trust_env=False).json()["active"]] == ["canceled", "foreign_rows"]
    httpx.delete(page, params={"name": "canceled"}, trust_env=False)
    started.stop()
    started.start()
    found = httpx.get(f"{started.http}/_emulator/scenario", trust_env=False).json()
    assert found["active"] == [{"name": "foreign_rows", "times": None, "params": {"count": 2}}]
    assert found["known"] == {name: list(kind.params) for name, kind in KINDS.items()}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "Expecting property name"),
        (b"[]", "there is no scenario []"),
        (b'{"name": "canceled", "times": 0}', "'times' is 0; write a number from 1, or null for always"),
        (b'{"name": "canceled", "day": 1}', "unexpected keys day; allowed are name, times, params"),
        (b'{"name": "canceled", "params": {"seconds": -1}}', "seconds is -1; write a number from 0"),
        (b'{"name": "missing_rows", "params": {"rows": [true]}}', "write a list of row numbers"),
        (b'{"name": "missing_rows", "params": {"count": 1.5}}', "count is 1.5; write a whole number from 0"),
        (b'{"name": "failed_call", "params": {"method": 1}}', "method is 1; write a text"),
        (b'{"name": "failed_call", "params": {"code": "OK"}}', "code is 'OK'; allowed: CANCELLED, "),
        (b'{"name": "reply_lost", "params": {"how": "never"}}', "how is 'never'; allowed: refuse, hang, die"),
    ],
)
def test_a_scenario_that_cannot_be_understood(running, body, message):
    answer = httpx.post(f"{running.http}/_emulator/scenario", content=body, trust_env=False)
    assert answer.status_code == 400
    assert message in answer.json()["error"]
    assert httpx.get(f"{running.http}/_emulator/scenario", trust_env=False).json()["active"] == []


def test_the_documentation_names_every_option_quota_page_and_scenario(project):
    text = (project / "docs" / "emulator.md").read_text(encoding="utf-8")
    pages = {route.path for route in ControlHttp(None, None).routes()}
    options = {option for action in _parser()._actions for option in action.option_strings} - {"-h", "--help"}
    assert [each for each in (*options, *QUOTAS, *pages) if each not in text] == []
    rows = {line.split("`")[1]: line for line in text.splitlines() if line.startswith("| `")}
    assert [name for name in KINDS if name not in rows] == []
    for name, kind in KINDS.items():
        params = {} if "as `line_errors`" in rows[name] or "the same" in rows[name] else kind.params
        assert [param for param in params if f"`{param}`" not in rows[name]] == [], name


def test_it_ends_with_its_standard_input_and_by_a_signal(emulator):
    for end in (lambda each: each.stop(), lambda each: each.process.close_stdin()):
        started = emulator()
        end(started)
        assert started.process.wait() == 0
        started.stop()
