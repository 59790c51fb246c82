"""CPU that `import mesh`, and a first client, cost beside the official clients: `./dev bench import_time`.

Each figure is the median of processes that each import once, with compiled bytecode at hand. The limit is 15 ms for
`import mesh`; `-X importtime` shows where it goes.
"""

import statistics
import subprocess
import sys

RUNS = 15
LIMIT_MS = 15.0

PROGRAM = """
import time
before = time.process_time()
{statement}
print((time.process_time() - before) * 1000)
"""

CASES = {
    "import mesh": "import mesh",
    "import mesh, and a client": 'import mesh; mesh.MeshClient("http://127.0.0.1:1", "mesh_x")',
    "import openai": "import openai",
    "import anthropic": "import anthropic",
}


def measure(statement: str) -> float:
    """Return the median CPU time in milliseconds."""
    times = []
    for _ in range(RUNS + 1):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM.format(statement=statement)], capture_output=True, text=True, check=True
        )
        times.append(float(done.stdout))
    return statistics.median(times[1:])  # the first one may have compiled


def main() -> int:
    """Print the table; exit status 1 if the limit is passed."""
    found = {name: measure(statement) for name, statement in CASES.items()}
    ours = found["import mesh"]
    print(f"{'CPU, median of ' + str(RUNS):<28}{'ms':>8}   x import mesh")
    for name, ms in found.items():
        print(f"{name:<28}{ms:>8.1f}{ms / ours:>14.1f}")
    print(f"limit {LIMIT_MS:.0f} ms: {'held' if ours <= LIMIT_MS else 'PASSED'}")
    return 0 if ours <= LIMIT_MS else 1


if __name__ == "__main__":
    sys.exit(main())
