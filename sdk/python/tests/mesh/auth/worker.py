"""A process of a stress test: threads that call a server, with whatever login is stored.

Run as `python worker.py URL THREADS SECONDS`; prints one JSON line: how many calls, and what failed.
"""

import json
import sys
import threading
import time

import mesh


def main(url, count, seconds):
    calls, failed = [0] * count, []
    ends = time.monotonic() + seconds
    kind = mesh.AutoRefreshMeshClient if "--background" in sys.argv else mesh.MeshClient
    client = kind(url, timeout=20)

    def work(index):
        while time.monotonic() < ends:
            try:
                client.list_keys()
            except mesh.MeshError as problem:
                failed.append(f"{problem.code}: {problem.message}")
            calls[index] += 1
            time.sleep(0.01)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    client.close()
    sys.stdout.write(json.dumps({"calls": sum(calls), "failed": failed}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
