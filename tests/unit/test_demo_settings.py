import json
import socket
import stat

from vision_batch.demo.postgres import database_url, socket_folder
from vision_batch.demo.settings import Service, airflow_environ, base_environ, free_port, load_keys


def test_keys_are_made_once_and_only_their_owner_reads_them(tmp_path):
    path = tmp_path / "var" / "keys.json"
    keys = load_keys(path)
    assert load_keys(path) == keys
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_keys(tmp_path / "other.json") != keys


def test_no_secret_shows_in_a_representation(tmp_path):
    keys = load_keys(tmp_path / "keys.json")
    assert not [value for value in json.loads((tmp_path / "keys.json").read_text()).values() if value in repr(keys)]
    assert "hush" not in repr(Service(folder_id="b1g", api_key="hush"))


def test_the_persons_own_airflow_is_left_alone():
    shell = {
        "AIRFLOW_HOME": "/somewhere",
        "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
        "AIRFLOW_CONN_AI_STUDIO_DEFAULT": "{}",
        "VISION_BATCH_IMAGES": "s3://mine",
        "PATH": "/bin",
        "no_proxy": "intern",
    }
    kept = base_environ(shell)
    assert kept["PATH"] == "/bin"
    assert kept["no_proxy"] == "intern,127.0.0.1,localhost"
    assert not [name for name in kept if name.startswith(("AIRFLOW", "VISION_BATCH"))]


def test_everything_of_airflow_lies_below_the_stacks_folder_and_listens_on_this_machine_only(tmp_path):
    keys = load_keys(tmp_path / "keys.json")
    project = tmp_path / "project"
    environ = airflow_environ(tmp_path / "var", project, database_url="postgresql://", port=4711, keys=keys)
    assert environ["AIRFLOW_HOME"] == str(tmp_path / "var" / "airflow")
    assert environ["AIRFLOW__LOGGING__BASE_LOG_FOLDER"].startswith(environ["AIRFLOW_HOME"])
    assert environ["AIRFLOW__API__HOST"] == "127.0.0.1"
    assert environ["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == "http://127.0.0.1:4711/execution/"
    assert environ["AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION"] == "True"
    assert environ["AIRFLOW__USAGE_DATA_COLLECTION__ENABLED"] == "False"


def test_the_connection_of_the_emulator():
    connection = json.loads(Service("b1g", "key", endpoint="127.0.0.1:4711", tls=False, unit_price="0.2").connection())
    assert connection == {
        "conn_type": "ai_studio",
        "password": "key",
        "host": "127.0.0.1",
        "port": 4711,
        "extra": {"folder_id": "b1g", "tls": False, "unit_price": "0.2"},
    }


def test_the_connection_of_the_service_itself_names_no_host():
    assert "host" not in json.loads(Service("b1g", "key").connection())


def test_a_free_port_can_be_bound():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", free_port()))


def test_the_socket_of_a_deep_folder_lies_elsewhere(tmp_path):
    deep = tmp_path / ("d" * 90) / "postgres"
    assert socket_folder(tmp_path / "postgres") == tmp_path / "postgres"
    assert len(str(socket_folder(deep))) < 80
    assert socket_folder(deep) != socket_folder(deep.parent / "other" / "postgres")
    assert "%20" in database_url(tmp_path / "a b")
