"""Errors as the published clients bear them, and how they are told from others on the paths that they share with Mesh.

One of them takes 401 and 403 for a login that has ended and begins another one in a browser; the other takes 404 for a
server of another age. So neither is said to a caller who is known, where that would happen (docs/adr/0094).
"""

from mesh_server.asgi import ErrorWriter, Request, Send, error_body, error_headers, send_json
from mesh_server.errors import MeshError

#: What is answered in place of a status that those clients misread; the code of the error stays.
MOVED = {403: 400, 404: 400}
#: How the header `user-agent` of both begins: they leave it to their HTTP library.
_THEIR_AGENT = b"python-requests/"


async def send_moved_error(send: Send, error: MeshError, request_id: str) -> None:
    """Answer with the error body of Mesh's own surface, and a status that says no more than it means."""
    status = MOVED.get(error.status, error.status)
    await send_json(send, error_body(error, request_id), status=status, headers=error_headers(error))


def is_theirs(request: Request) -> bool:
    """Return whether a request may be of a published client."""
    return (request.header(b"user-agent") or b"").startswith(_THEIR_AGENT)


def writer_for(request: Request) -> ErrorWriter | None:
    """Return what writes errors to a published client; None for everybody else."""
    return send_moved_error if is_theirs(request) else None
