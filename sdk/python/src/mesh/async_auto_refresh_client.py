"""The asynchronous client that renews its login by itself: as `AutoRefreshMeshClient`, awaited."""

import asyncio
from typing import Any, TypeVar

from mesh._plan import Plan
from mesh.async_client import AsyncMeshClient
from mesh.auth.order import REFRESH_MARGIN_S
from mesh.auto_refresh_client import Renewer, check_margin

T = TypeVar("T")


class AsyncAutoRefreshMeshClient(AsyncMeshClient):
    """As `AsyncMeshClient`, and renews the login before it ends, in the background, so that no call waits for that.

    One daemon thread does it, so that nothing of it runs in the event loop; it ends with `close()`, with the client, or
    with the program.

    Args:
        server_url: as `AsyncMeshClient` has it, like all the other named arguments.
        auth_token: a token that is given is never renewed.
        auto_refresh: whether to renew at all; default: AUTO_REFRESH, then true.
        refresh_margin: seconds before its end that the login is renewed; of a short one, a fifth of its life at most.
        named: the other arguments of `AsyncMeshClient`.

    Raises:
        TypeError, ValueError: if an argument is wrong.
    """

    def __init__(
        self,
        server_url: str | None = None,
        auth_token: str | None = None,
        *,
        auto_refresh: bool | None = None,
        refresh_margin: float = REFRESH_MARGIN_S,
        **named: Any,
    ) -> None:
        check_margin(refresh_margin)
        super().__init__(server_url, auth_token, auto_refresh=auto_refresh, **named)
        self._renewer = Renewer(self._found, refresh_margin)

    async def close(self) -> None:
        """Close the connections and end the background thread; closing twice is fine."""
        await asyncio.to_thread(self._renewer.stop)
        await super().close()

    async def _run(self, plan: Plan[T]) -> T:
        """Do what the plan asks for; the first one starts the thread."""
        self._renewer.start(self)
        return await super()._run(plan)
