"""What the system knows of this process."""

import os
import sys
import time
from pathlib import Path

_STATM, _DESCRIPTORS = Path("/proc/self/statm"), "/proc/self/fd"


def processor_us() -> int:
    """Return the microseconds of processor time that the process has used."""
    return int(time.process_time() * 1e6)


def gauges() -> dict[str, float]:
    """Return memory and open descriptors by the names that Prometheus' clients use; nothing where there is no /proc."""
    found: dict[str, float] = {}
    if sys.platform == "linux" and _STATM.exists():
        import resource  # noqa: PLC0415 - not there on Windows

        pages = _STATM.read_text("ascii").split()
        size = os.sysconf("SC_PAGE_SIZE")
        found["process_virtual_memory_bytes"] = int(pages[0]) * size
        found["process_resident_memory_bytes"] = int(pages[1]) * size
        with os.scandir(_DESCRIPTORS) as descriptors:
            found["process_open_fds"] = sum(1 for _ in descriptors)
        found["process_max_fds"] = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return found
