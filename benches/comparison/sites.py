"""The sites: builds, starts and stops them, and sends requests to them."""

import http.client
import os
import signal
import subprocess
import sys
from pathlib import Path

from stores import free_port, wait_until

HERE = Path(__file__).resolve().parent
VIRTUAL_ENVIRONMENT = HERE / "target/django"
PEERS = HERE.parent / "peers"
# The workspace of each Rust site.
WORKSPACES = {"session-rocket": PEERS, "axum-session": PEERS} | dict.fromkeys(["flex", "tower", "actix"], PEERS / "rivals")
# A site that sends no reply in this time hangs.
TIMEOUT = 90


def build(names):
    for name in names:
        if name in WORKSPACES:
            command = ["cargo", "build", "--release", "--locked", "--bin", name]
            subprocess.run(command, check=True, cwd=WORKSPACES[name])
    if "django" in names:
        subprocess.run([sys.executable, "-m", "venv", VIRTUAL_ENVIRONMENT], check=True)
        pip = [VIRTUAL_ENVIRONMENT / "bin/pip", "install", "--quiet", "--requirement", HERE / "django/requirements.txt"]
        subprocess.run(pip, check=True)


def command(name, port, url, concurrency):
    if name in WORKSPACES:
        return [WORKSPACES[name] / "target/release" / name, str(port), url]
    if name == "laravel":
        return ["php", "-S", f"127.0.0.1:{port}", HERE / "laravel/index.php"]
    options = ["--threads", str(concurrency), "--keep-alive", "60", "--chdir", HERE / "django"]
    return [VIRTUAL_ENVIRONMENT / "bin/gunicorn", "--bind", f"127.0.0.1:{port}", *options, "comparison_site"]


class Reply:
    """A reply. Its status is `None` if the site did not reply in time."""

    def __init__(self, status, body="", set_cookies=()):
        self.status = status
        self.body = body
        # The value of a removed cookie is `None`.
        self.cookies = dict(map(parse_cookie, set_cookies))

    def number(self):
        return int(self.body) if self.status == 200 else 0


def parse_cookie(header):
    name, _, value = header.split(";")[0].partition("=")
    is_removed = "max-age=0" in header.lower() or "1970" in header
    return name, None if is_removed else value


def send(connection, path, cookies):
    pairs = [f"{name}={value}" for name, value in cookies.items() if value is not None]
    connection.request("GET", path, headers={"Cookie": "; ".join(pairs)} if pairs else {})


def receive(connection):
    response = connection.getresponse()
    body = response.read().decode(errors="replace")
    return Reply(response.status, body, response.headers.get_all("Set-Cookie", []))


class Site:
    """One or more processes of a site on one store. Each process has its own port."""

    def __init__(self, name, store, processes=1, concurrency=32):
        self.name = name
        self.store = store
        self.ports = [free_port() for _ in range(processes)]
        self.concurrency = concurrency

    def __enter__(self):
        self.environment = os.environ | {"STORE": self.store.url, "DIRECTORY": self.store.directory}
        self.environment |= {"ROCKET_LOG_LEVEL": "off", "PHP_CLI_SERVER_WORKERS": str(self.concurrency)}
        if self.name == "laravel" and not self.store.url.startswith("redis"):
            subprocess.run(["php", HERE / "laravel/index.php"], env=self.environment, check=True)
        self.processes = []
        for port in self.ports:
            self.processes.append(self.start(port))
            wait_until(lambda: self.is_ready(port), f"the site {self.name}")
        return self

    def __exit__(self, *_):
        for process in self.processes:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def start(self, port):
        log = open(os.path.join(self.store.directory, "site.log"), "a")
        arguments = command(self.name, port, self.store.url, self.concurrency)
        return subprocess.Popen(arguments, env=self.environment, stdout=log, stderr=log, start_new_session=True)

    def restart(self):
        self.__exit__()
        self.__enter__()

    def is_ready(self, port):
        try:
            return self.get("/get", {}, port).status == 200
        except (OSError, http.client.HTTPException):
            return False

    def get(self, path, cookies, port=None):
        connection = http.client.HTTPConnection("127.0.0.1", port or self.ports[0], timeout=TIMEOUT)
        try:
            send(connection, path, cookies)
            return receive(connection)
        except TimeoutError:
            return Reply(None)
        finally:
            connection.close()
