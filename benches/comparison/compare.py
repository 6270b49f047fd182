#!/usr/bin/env python3
"""Compares session libraries under concurrent requests and failures. Prints a row for each library and store."""

import argparse
import tempfile
from functools import partial

import checks
import sites
from stores import STORES

# The title of each library, its stores, and other settings for the measurements of concurrent requests.
LIBRARIES = {
    "session-rocket": ("session-rocket", "sqlite postgres redis", {"two processes": {"processes": 2}}),
    "flex": ("rocket_flex_session", "sqlite postgres redis", {}),
    "tower": ("tower-sessions", "sqlite postgres redis", {}),
    "actix": ("actix-session", "redis", {}),
    "axum-session": ("axum_session", "sqlite postgres redis", {"two processes": {"processes": 2}}),
    "django": ("Django", "sqlite postgres redis", {"two threads": {"concurrency": 2}}),
    "laravel": ("Laravel", "sqlite postgres redis", {}),
}
COLUMNS = ["library, store", "lost updates", "logout undone", "store fails at the save", "store fails at the load"]


def measure(check, name, store, **settings):
    with tempfile.TemporaryDirectory(prefix="comparison-") as directory:
        store = STORES[store](directory)
        try:
            with sites.Site(name, store, **settings) as site:
                return check(site)
        finally:
            store.close()


def percentage(share):
    return f"{share:.0f}" if share >= 10 else f"{share:.1f}"


def lost_updates(rounds, name, store, **settings):
    results = [measure(checks.lost_updates, name, store, **settings) for _ in range(rounds)]
    lowest, highest = (percentage(function(share for share, _ in results)) for function in (min, max))
    failed = max(failed for _, failed in results)
    text = f"{lowest} %" if lowest == highest else f"{lowest}–{highest} %"
    if not any(share for share, _ in results):
        text = "none"
    return text + (f" (up to {failed} requests fail)" if failed else "")


def cell(check, name, store, others):
    """The result of `check`, and the results with other settings if they differ."""
    result = check(name, store)
    different = [(label, check(name, store, **settings)) for label, settings in others.items()]
    return "; ".join([result, *(f"{label}: {other}" for label, other in different if other != result)])


def row(name, store, rounds):
    title, _, others = LIBRARIES[name]
    concurrent = [partial(lost_updates, rounds), partial(measure, checks.logout_undone)]
    cells = [cell(check, name, store, others) for check in concurrent]
    cells += [measure(check, name, store) for check in (checks.fail_at_save, checks.fail_at_load)]
    return [f"{title}, {STORES[store].title}", *cells]


def print_row(cells):
    print(f"| {' | '.join(cells)} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--libraries", default=",".join(LIBRARIES), help="default: %(default)s")
    parser.add_argument("--stores", default=",".join(STORES), help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of lost updates; default: %(default)s")
    options = parser.parse_args()
    names = options.libraries.split(",")
    sites.build(names)
    print_row(COLUMNS)
    print_row(["---"] * len(COLUMNS))
    for name in names:
        for store in LIBRARIES[name][1].split():
            if store in options.stores.split(","):
                print_row(row(name, store, options.rounds))


if __name__ == "__main__":
    main()
