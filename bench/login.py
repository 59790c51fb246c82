"""What a login costs: a warm call's look at it, and opening and storing it; each beside the least that it could be.

Run by `./dev bench login`. Prints microseconds, and ratios to the limit beside.
"""

import os
import tempfile
import time
import timeit
from pathlib import Path

from mesh import _config
from mesh._secret import Secret
from mesh.auth.logins import Login
from mesh.auth.order import Credentials
from mesh.auth.overrides import Overrides
from mesh.auth.store import Store

URL = "https://mesh.example.com"


def microseconds(work, number):
    return min(timeit.repeat(work, number=number, repeat=7)) / number * 1e6


def show(what, measured, limit, of):
    print(f"{what:<44} {measured:9.2f} µs   {measured / limit:6.1f} times {of} ({limit:.2f} µs)")


def a_login():
    now = time.time()
    return Login(
        access_token=Secret("a" * 900),
        refresh_token=Secret("r" * 60),
        obtained_at=now,
        expires_at=now + 3600,
        issuer="https://tenant.example.com/",
        client_id="client",
        audience="https://api",
        token_endpoint="https://tenant.example.com/oauth/token",
        revocation_endpoint=None,
        subject="user|1",
        name="ada@example.com",
    )


def plain_write(path, content):
    with Path(path).open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def main():
    os.environ["MESH_KEYRING"] = "off"
    with tempfile.TemporaryDirectory() as folder:
        environment = {"MESH_CONFIG_DIR": folder}
        given = Credentials(
            _config.load(server_url=URL, auth_token="t", environment=environment), Overrides(), ports=[]
        )
        stored = Credentials(_config.load(server_url=URL, environment=environment), Overrides(), ports=[])
        stored._kept = a_login()
        limit = microseconds(given.ready, 200_000)
        show(
            "a warm call looks at a stored login", microseconds(stored.ready, 200_000), limit, "a token that was given"
        )
        store, login = Store(Path(folder), URL), a_login()
        store.save(login)
        read = microseconds(store.path.read_bytes, 5_000)
        show("open the stored login", microseconds(store.load, 5_000), read, "reading the file")
        content = store.path.read_bytes()
        wrote = microseconds(lambda: plain_write(f"{folder}/plain", content), 50)
        show(
            "store a login, twice flushed, under a lock",
            microseconds(lambda: store.save(login), 50),
            wrote,
            "one flushed write",
        )


if __name__ == "__main__":
    main()
