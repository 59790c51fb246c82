"""Requests and responses in the HTTP library's own terms."""

from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mesh._transport import WireRequest


def built(client: Any, request: "WireRequest") -> Any:
    """Return a request that its library is ready to send."""
    builder = client.request(request.method, request.url)
    for name, value in request.headers:
        builder = builder.header(name, value, is_sensitive=name == "authorization")
    if request.body is not None:
        builder = builder.body_bytes(request.body)
    if not request.streamed:  # read as a whole in one native call: that costs a third less than piece by piece
        return builder.timeout(timedelta(seconds=request.timeout)).build()
    # Without a limit of 0 the library would wait for the first 64 KiB of a stream before it hands anything on.
    return builder.streamed_read_buffer_limit(0).build_streamed()


def headers_of(response: Any) -> dict[str, str]:
    """Return the headers of a response by lower-case name."""
    return {name.lower(): value for name, value in response.headers.items()}
