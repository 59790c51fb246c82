"""`mesh-server serve` in processes of its own."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time

import psutil

from mesh_server.proofs.roots import create_root
from mesh_server.vault.crypto import create_master_key


class Server:
    """One server, its folder and its log; `arguments` are those of `serve`."""

    def __init__(self, folder, url, *arguments):
        self.folder = folder
        self.log = folder / "server.log"
        self.environment = {
            **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
            "MESH_DATA_DIR": str(folder),
            "MESH_DATABASE_URL": url,
            "MESH_CONFIG": "",
        }
        if not (folder / "master.key").exists():
            create_master_key(folder / "master.key")
            create_root(folder / "zkp.root")
        self.arguments = arguments
        self.process = None

    def command(self, *arguments, **environment):
        return subprocess.run(
            [sys.executable, "-m", "mesh_server.cli", *arguments],
            env=self.environment | environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def token(self):
        made = self.command("token", "create", "--user", "ann", "--scopes", "keys:read,keys:write,admin")
        assert made.returncode == 0, made.stderr
        return made.stdout.strip()

    def start(self):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mesh_server.cli", "serve", "--port", str(self.port), *self.arguments],
                env=self.environment,
                cwd=self.folder,
                stdout=output,
                stderr=output,
            )
        self.until(lambda: b"Serving on" in self.log.read_bytes())
        return self

    def until(self, condition, seconds=20):
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.02)

    def workers(self):
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.Process(self.process.pid).children()
        return []

    def ask(self, method, path, token=None, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            headers = {"authorization": f"Bearer {token}"} if token else {}
            connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or b"{}")
        finally:
            connection.close()

    def metrics(self):
        """Return what one scrape shows, by its text up to the value."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", "/metrics")
            lines = connection.getresponse().read().decode().splitlines()
        finally:
            connection.close()
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait(45)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        if self.process.poll() is None:
            children = self.workers()
            self.process.kill()
            self.process.wait()
            psutil.wait_procs(children, 10)

    @contextlib.contextmanager
    def started(self):
        """Stop what `start` started."""
        try:
            yield self
        finally:
            self.__exit__()
