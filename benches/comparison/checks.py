"""The four measurements. Each takes a running site and returns a cell of the table."""

import http.client
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from sites import TIMEOUT, receive, send
from stores import wait_until

REQUESTS = 2000
CONNECTIONS = 32


def new_session(site):
    """Creates a session with the number 2 and returns its cookies."""
    cookies = site.get("/count", {}).cookies
    reply = site.get("/count", cookies)
    assert reply.number() == 2, f"{site.name} does not count in a session: {reply.status} {reply.body}"
    return cookies | reply.cookies


@contextmanager
def slow_request(site, cookies):
    """Sends a request whose handler has loaded the session and waits. Yields a function that lets the handler continue."""
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        listener.settimeout(TIMEOUT)
        request = pool.submit(site.get, f"/slow/{listener.getsockname()[1]}", cookies)
        handler, _ = listener.accept()

        def resume():
            handler.close()
            return request.result()

        with handler:
            yield resume


def lost_updates(site):
    """The share of increments that are missing, in percent, and the number of failed requests."""
    cookies = new_session(site)
    ports = [site.ports[index % len(site.ports)] for index in range(CONNECTIONS)]
    connections = [http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT) for port in ports]
    confirmed = 0
    for sent in range(0, REQUESTS, CONNECTIONS):
        batch = connections[: REQUESTS - sent]
        for connection in batch:
            send(connection, "/count", cookies)
        confirmed += sum(receive(connection).status == 200 for connection in batch)
    for connection in connections:
        connection.close()
    # A process may keep sessions in memory, so a new one reads the store.
    site.restart()
    found = site.get("/get", cookies).number() - 2
    return 100 * (confirmed - found) / confirmed, REQUESTS - confirmed


def logout_undone(site):
    cookies = new_session(site)
    with slow_request(site, cookies) as resume:
        site.get("/logout", cookies, site.ports[-1])
        reply = resume()
    status = "" if reply.status == 200 else f" ({reply.status})"
    if has_data(site, cookies):
        return f"yes{status}"
    if has_data(site, reply.cookies):
        return f"yes: the data returns under a new id{status}"
    return f"no{status}"


def has_data(site, cookies):
    return any(site.get("/get", cookies, port).number() for port in site.ports)


def timed(site, path, cookies):
    started = time.monotonic()
    reply = site.get(path, cookies)
    return reply, describe(reply, time.monotonic() - started)


def describe(reply, seconds):
    if reply.status is None:
        return "the request hangs"
    return f"{reply.status} after {seconds:.0f} s" if seconds > 10 else str(reply.status)


def fail_at_save(site):
    cookies = new_session(site)
    with slow_request(site, cookies) as resume:
        site.store.fail()
        started = time.monotonic()
        reply = resume()
        answer = describe(reply, time.monotonic() - started)
    site.store.recover()
    site.restart()
    is_saved = site.get("/get", cookies | reply.cookies).number() == 3
    if reply.status == 200 and not is_saved:
        return f"{answer}, the write is lost"
    return answer


def fail_at_load(site):
    if not site.store.fails_at_load:
        return "–"
    cookies = new_session(site)
    # A process may keep sessions in memory, so a new one loads the session.
    site.restart()
    site.store.fail()
    read, read_answer = timed(site, "/get", cookies)
    write, write_answer = timed(site, "/count", cookies)
    site.store.recover()
    # The connections of some clients do not recover, which depends on the site's code.
    site.restart()
    wait_until(lambda: site.get("/get", cookies).status == 200, f"{site.name} after its store failed")
    parts = [read_answer + (" with an empty session" if read.status == 200 else "") + cookie_change(read, cookies)]
    if write_answer != read_answer or cookie_change(write, cookies) != cookie_change(read, cookies):
        parts.append(f"a write: {write_answer}{cookie_change(write, cookies)}")
    if site.get("/get", cookies).number() != 2:
        parts.append("the stored data is lost")
    return "; ".join(parts)


def cookie_change(reply, cookies):
    changed = [value for name, value in reply.cookies.items() if cookies.get(name) != value]
    if not changed:
        return ""
    return ", the cookie is removed" if changed == [None] else ", the cookie is replaced"
