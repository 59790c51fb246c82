"""Calls a published client's methods in its own environment, step by step, and writes what came of each as JSON.

    python driver.py STEPS RESULTS [SECONDS]

With SECONDS no request waits longer, whatever the client says: 30 seconds of it are too long for a test.

A step is `[of, name, positional, named]`; `of` is `module`, or the name of a class, whose instance all its steps share;
`new` makes that instance with arguments.
A result is `{"value": …}` or `{"raised": "ExceptionName", "text": …}`.
"""

import json
import socketserver
import sys
import types
from pathlib import Path

import requests

import mesh

# They listen on the first port that nobody answers at, which is refused for a minute after its last use.
socketserver.TCPServer.allow_reuse_address = True


def main(steps_file, results_file, seconds=None):
    if seconds is not None:
        hurry(float(seconds))
    instances = {"module": mesh}
    steps = json.loads(Path(steps_file).read_text("utf-8"))
    results = []
    for of, name, positional, named in steps:
        try:
            if name == "new":
                instances[of] = getattr(mesh, of)(*positional, **named)
                results.append({"value": None})
                continue
            if of not in instances:
                instances[of] = getattr(mesh, of)()
            found = getattr(instances[of], name)
            value = found(*positional, **named) if callable(found) else found
            results.append({"value": plain(value)})
        except BaseException as problem:  # noqa: BLE001 - whatever it is, the test wants to see it
            results.append({"raised": type(problem).__name__, "text": str(problem)})
    Path(results_file).write_text(json.dumps(results), "utf-8")


def hurry(seconds):
    send = requests.Session.send

    def sooner(session, request, **more):
        return send(session, request, **(more | {"timeout": seconds}))

    requests.Session.send = sooner


def plain(value):
    if isinstance(value, types.GeneratorType):
        return list(value)
    return json.loads(json.dumps(value, default=repr))


if __name__ == "__main__":
    main(*sys.argv[1:])
