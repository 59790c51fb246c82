"""Where the dev issuer keeps its state: one file that only this user can read."""

import asyncio
from pathlib import Path

import msgspec

from mesh_server.dev_issuer.state import State
from mesh_server.errors import StartupError
from mesh_server.profile import write_private

FILE = "dev-issuer.json"


class Store:
    """The file of one issuer; an answer leaves after what it depends on was written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writing = asyncio.Lock()

    def load(self) -> State:
        """Return what is there, or an empty state.

        Raises:
            StartupError: if the file can't be read.
        """
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=State)
        except FileNotFoundError:
            return State()
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as problem:
            raise StartupError(
                f"The dev issuer's state {self._path} can't be read: delete it, then log in anew."
            ) from problem

    async def save(self, state: State) -> None:
        """Write the state, whole or not at all.

        Raises:
            StartupError: if it can't be written.
        """
        async with self._writing:
            text = msgspec.json.encode(state).decode()
            await asyncio.to_thread(write_private, self._path, text)
