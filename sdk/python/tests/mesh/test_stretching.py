"""Key stretching in many threads at once: the library alone would wait for ever, holding the interpreter."""

import subprocess
import sys

PROGRAM = """
import threading
from mesh._plan import drive
from mesh.keys import zkp
from mesh_protocol.ksf import DEFAULT

def stretch():
    made = drive(zkp._compute(lambda: DEFAULT.stretch(b"x" * 64)), None)
    assert len(made) == 32

threads = [threading.Thread(target=stretch) for _ in range(6)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("done")
"""


def test_values_are_verified_in_many_threads_at_once():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60)
    assert done.stdout == "done\n", done.stderr
