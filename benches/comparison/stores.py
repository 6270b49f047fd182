"""The stores: private servers in a temporary directory, which can fail and recover."""

import glob
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import time


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def wait_until(is_ready, what, seconds=60):
    deadline = time.monotonic() + seconds
    while not is_ready():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} is not ready after {seconds} s")
        time.sleep(0.05)


class Sqlite:
    """A new file. It fails at writes while another process holds the write lock."""

    title = "SQLite"
    fails_at_load = False

    def __init__(self, directory):
        self.directory = directory
        self.path = os.path.join(directory, "sessions.db")
        self.url = f"sqlite:{self.path}?synchronous=FULL"
        open(self.path, "a").close()

    def fail(self):
        self.lock = sqlite3.connect(self.path, isolation_level=None)
        self.lock.execute("BEGIN IMMEDIATE")

    def recover(self):
        self.lock.close()

    def close(self):
        pass


class Server:
    """A database server. It fails when its process is killed, and recovers when it is started again."""

    fails_at_load = True

    def __init__(self, directory):
        self.directory = directory
        self.port = free_port()
        self.prepare()
        self.recover()

    def prepare(self):
        pass

    def is_ready(self):
        return subprocess.run(self.ping(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0

    def recover(self):
        log = open(os.path.join(self.directory, "server.log"), "a")
        self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, **self.user())
        wait_until(self.is_ready, self.title)

    def fail(self):
        self.process.send_signal(self.kill_signal)
        self.process.wait()

    def user(self):
        return {}

    close = fail


class Postgres(Server):
    title = "PostgreSQL"
    # An immediate shutdown ends every backend without a checkpoint. SIGKILL would leave the backends running.
    kill_signal = signal.SIGQUIT

    def program(self, name):
        found = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"))
        return found[-1] if found else shutil.which(name)

    def user(self):
        """PostgreSQL refuses to run as root."""
        return {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}

    def prepare(self):
        self.url = f"postgres://site@127.0.0.1:{self.port}/postgres"
        self.data = os.path.join(self.directory, "data")
        if os.geteuid() == 0:
            shutil.chown(self.directory, "postgres", "postgres")
        command = [self.program("initdb"), "--no-sync", "--auth=trust", "--username=site", "--encoding=UTF8"]
        subprocess.run([*command, "--locale=C.UTF-8", "-D", self.data], check=True, capture_output=True, **self.user())

    def command(self):
        settings = ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={self.directory}"]
        return [self.program("postgres"), "-D", self.data, "-p", str(self.port), *settings]

    def ping(self):
        return [self.program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]


class Redis(Server):
    title = "Redis"
    kill_signal = signal.SIGKILL

    def prepare(self):
        self.url = f"redis://127.0.0.1:{self.port}"

    def command(self):
        options = ["--bind", "127.0.0.1", "--dir", self.directory, "--appendonly", "yes", "--save", ""]
        return ["redis-server", "--port", str(self.port), *options]

    def ping(self):
        return ["redis-cli", "-p", str(self.port), "-e", "ping"]


STORES = {"sqlite": Sqlite, "postgres": Postgres, "redis": Redis}
