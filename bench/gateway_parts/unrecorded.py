"""`mesh-server` that records no usage: what is left when recording is taken away. For the bench alone."""

import sys

from mesh_server.billing.recorder import Recorder
from mesh_server.cli.__main__ import main

Recorder.put = lambda _recorder, _settlement: None

if __name__ == "__main__":
    sys.exit(main())
