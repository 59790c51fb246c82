"""What the client costs beside `openai` and `anthropic`, on the same fast server in the same run: `./dev bench sdk`.

Each measure runs in a process of its own and is the best of several rounds, since what else the machine does can only
add; imports are the median of processes. `ratios` are the other clients' costs over Mesh's.
"""

import statistics
import subprocess
import sys
from pathlib import Path

PARTS = Path(__file__).parent / "sdk_parts"
CLIENTS = ("mesh", "openai", "anthropic")
RUNS = 9

#: A bar that is a share of what `openai` costs.
STREAM_SHARE = 0.2

#: Measure, what it is called, its unit, whether more is better, and the bar; None for none.
ROWS = (
    ("import", "import, CPU", "ms", False, 15.0),
    ("first", "import to the first answer, CPU", "ms", False, 150.0),
    ("sync", "a call", "µs", False, 200.0),
    ("cpu", "a call, CPU of all threads", "µs", False, None),
    ("async", "a call, async", "µs", False, 250.0),
    ("concurrent", "calls, 200 at the same time", "1/s", True, 10_000.0),
    ("stream", "a piece of a stream", "µs", False, STREAM_SHARE),
    ("async_stream", "a piece of a stream, async", "µs", False, STREAM_SHARE),
)


def measure(client: str, what: str, url: str) -> list[float]:
    """Return what a worker prints; of imports the median of several."""
    command = [sys.executable, str(PARTS / "worker.py"), client, what, url]
    runs = RUNS + 1 if what in {"import", "first"} else 1
    found = [subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() for _ in range(runs)]
    if runs == 1:
        return [float(number) for number in found[0]]
    return [statistics.median(float(numbers[0]) for numbers in found[1:])]  # the first one may have compiled


def main() -> int:
    """Print the tables; exit status 1 if a bar is missed."""
    server = subprocess.Popen([sys.executable, str(PARTS / "server.py")], stdout=subprocess.PIPE, text=True)
    try:
        url = f"http://127.0.0.1:{server.stdout.readline().strip()}"
        return report(url)
    finally:
        server.kill()
        server.wait()
        server.stdout.close()


def report(url: str) -> int:
    """Measure everything and print it."""
    missed = 0
    print(f"{'':<34}{'unit':>5}{'mesh':>10}{'openai':>10}{'anthropic':>11}{'ratios':>14}   bar")
    for what, name, unit, more, limit in ROWS:
        found = {client: measure(client, what, url)[0] for client in CLIENTS}
        ours = found["mesh"]
        bar = found["openai"] * STREAM_SHARE if limit == STREAM_SHARE else limit
        held = bar is None or (ours >= bar if more else ours <= bar)
        missed += not held
        verdict = "" if bar is None else f"{bar:,.0f} {'held' if held else 'MISSED'}"
        ratios = [ours / found[other] if more else found[other] / ours for other in CLIENTS[1:]]
        numbers = f"{ours:>10,.1f}{found['openai']:>10,.1f}{found['anthropic']:>11,.1f}"
        shown = f"{ratios[0]:>6.1f} {ratios[1]:>6.1f}"
        print(f"{name:<34}{unit:>5}{numbers}{shown:>14}   {verdict}", flush=True)
    print(f"\n{'memory, MB':<34}{'import':>10}{'10,000 calls':>14}")
    for client in CLIENTS:
        made, after = measure(client, "memory", url)
        print(f"{client:<34}{made:>10.1f}{after:>14.1f}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
