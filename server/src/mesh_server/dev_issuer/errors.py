"""The dev issuer's refusals: the branch of the error tree that speaks OAuth."""

from mesh_server.errors import MeshError


class OAuthProblem(MeshError):
    """A refusal of the dev issuer in the terms of OAuth (RFC 6749, section 5.2).

    Args:
        error: OAuth's own code.
        message: one sentence, the `error_description`.
        status: of HTTP.
    """

    code = "oauth_error"

    def __init__(self, error: str, message: str, *, status: int = 400) -> None:
        super().__init__(message)
        self.error = error
        self._status = status

    @property
    def status(self) -> int:
        """The HTTP status of this failure."""
        return self._status
