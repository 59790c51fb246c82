"""Request bodies: JSON decoded and validated in one pass, and told apart from what is not JSON."""

from typing import TypeVar

import msgspec

from mesh_server.errors import InvalidJSON, InvalidRequest

T = TypeVar("T")


def decode_json(body: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """Return a body decoded and validated.

    Raises:
        InvalidJSON: if it is not JSON at all, or nested too deep.
        InvalidRequest: if it is JSON of another shape; the message names the place.
    """
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as problem:
        _must_be_json(body)  # a decoder that meets the wrong shape first does not look at what follows
        # msgspec names the place and the expected type; of what it found there, at most the name of a member
        raise InvalidRequest(f"The body does not fit: {problem}.") from None
    except RecursionError:
        raise InvalidJSON("The JSON body is nested too deeply.") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise _not_json(body) from None


def _must_be_json(body: bytes) -> None:
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
    except RecursionError:
        raise InvalidJSON("The JSON body is nested too deeply.") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise _not_json(body) from None


def _not_json(body: bytes) -> InvalidJSON:
    what = "empty" if not body.strip() else "not valid JSON"
    return InvalidJSON(f"The body is {what}; this endpoint takes a JSON object.")
