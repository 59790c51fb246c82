"""The database's settings: from the environment, from files, and with a password that nobody sees."""

import pytest

from mesh_server.db import address
from mesh_server.errors import StartupError
from mesh_server.settings import load
from mesh_server.telemetry import mask

SECRET = "postgresql://mesh_app:swordfish@db.example.com:5433/mesh?sslmode=verify-full"


def settings(tmp_path, file="", **environment):
    (tmp_path / "mesh-server.toml").write_text(file)
    environment |= {"MESH_DATA_DIR": str(tmp_path), "MESH_CONFIG": str(tmp_path / "mesh-server.toml")}
    return load({}, environment)


def test_the_default_is_a_file_in_the_data_folder_and_one_worker(tmp_path):
    made = settings(tmp_path)
    assert made.database_url == f"sqlite:///{tmp_path / 'mesh.db'}"
    assert (made.workers, made.database_connections) == (1, 10)


def test_the_url_can_come_from_a_file_of_its_own(tmp_path):
    (tmp_path / "url").write_text(SECRET + "\n")
    path = str(tmp_path / "url")
    assert settings(tmp_path, MESH_DATABASE_URL_FILE=path).database_url == SECRET
    assert settings(tmp_path, f"database_url_file = {path!r}").database_url == SECRET


def test_the_environment_wins_over_the_file(tmp_path):
    assert settings(tmp_path, f"database_url = {SECRET!r}").database_url == SECRET
    file = f"database_url = {SECRET!r}\nworkers = 3"
    made = settings(tmp_path, file, MESH_DATABASE_URL="sqlite:////x", MESH_WORKERS="4")
    assert (made.database_url, made.workers) == ("sqlite:////x", 4)


def test_both_the_url_and_its_file_are_one_too_many(tmp_path):
    (tmp_path / "url").write_text(SECRET)
    with pytest.raises(StartupError, match="both set") as told:
        settings(tmp_path, MESH_DATABASE_URL=SECRET, MESH_DATABASE_URL_FILE=str(tmp_path / "url"))
    assert "swordfish" not in told.value.message


@pytest.mark.parametrize("number", ["0", "1", "1.5", "ten", "1001"])
def test_a_number_of_connections_that_is_none_is_refused(tmp_path, number):
    with pytest.raises(StartupError, match="MESH_DATABASE_CONNECTIONS"):
        settings(tmp_path, MESH_DATABASE_CONNECTIONS=number)


def test_no_password_is_shown(tmp_path):
    assert "swordfish" not in repr(settings(tmp_path, MESH_DATABASE_URL=SECRET))
    assert address.shown(SECRET) == "mesh on db.example.com:5433"
    assert "swordfish" not in mask(f"can't reach {SECRET} today")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://u@h/d?sslmode=require&prepared_statements=off", ("postgresql://u@h/d?sslmode=require", False)),
        ("postgresql://u@h/d", ("postgresql://u@h/d", True)),
        ("postgresql:///d?host=/run/postgresql", ("postgresql:///d?host=%2Frun%2Fpostgresql", True)),
    ],
)
def test_our_own_parameter_is_kept_from_the_driver(url, expected):
    assert address.driver_url(url) == expected
