"""The limits of what people store and the conditions under which they do, told in one sentence where one is not met."""

from collections.abc import Collection
from dataclasses import dataclass

from mesh_protocol.wire import MAX_KEY_NAME_BYTES, MAX_KEY_VALUE_BYTES
from mesh_server.errors import InvalidRequest, KeyExists, KeyTooLarge, RevisionConflict
from mesh_server.ids import now_us
from mesh_server.vault.models import NewValue

MOST_TAGS = 32
MAX_TAG_CHARS = 64
MAX_TAG_VALUE_CHARS = 256
MAX_NOTE_CHARS = 2_000


@dataclass(frozen=True, slots=True)
class Precondition:
    """What must hold for a change to happen.

    Attributes:
        revisions: the key is at one of these; `None` for whatever it is at.
        present: True: it must be there; False: it must not; None: both are right.
    """

    revisions: Collection[int] | None = None
    present: bool | None = None


ANYHOW = Precondition()


def check_name(name: str, namespace: str) -> None:
    """Refuse a name or a namespace that can't be one.

    Raises:
        InvalidRequest: naming the field and its limit.
    """
    if not name:
        raise InvalidRequest("A key needs a name.")
    if name in {".", ".."}:
        # Programs that parse URLs as browsers do resolve these even where they are percent-encoded.
        raise InvalidRequest(f"A key can't be named {name!r}: in a path it means another place.")
    _check_text(name, "name", MAX_KEY_NAME_BYTES)
    _check_text(namespace, "user_id", MAX_KEY_NAME_BYTES)


def check_filter(namespace: str, prefix: str) -> None:
    """Refuse what could match no name.

    Raises:
        InvalidRequest: naming the field and its limit.
    """
    _check_text(namespace, "user_id", MAX_KEY_NAME_BYTES)
    _check_text(prefix, "prefix", MAX_KEY_NAME_BYTES)


def check_pattern(pattern: str, namespace: str) -> None:
    """Refuse what could be the pattern of no grant: it is a name, or the beginning of names and `*`.

    Raises:
        InvalidRequest: naming the field and its limit.
    """
    if pattern.endswith("*"):
        check_filter(namespace, pattern[:-1])
    else:
        check_name(pattern, namespace)


def _check_text(text: str, what: str, limit: int) -> None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise InvalidRequest(f"`{what}` is not valid Unicode.") from None
    if size > limit:
        raise InvalidRequest(f"`{what}` has {size} bytes; the limit is {limit}.")
    if "\0" in text:
        raise InvalidRequest(f"`{what}` must not hold a zero byte.")


def check_new(new: NewValue) -> None:
    """Refuse a value, or what describes it, beyond the limits.

    Raises:
        KeyTooLarge, InvalidRequest: naming the field and its limit, never the value.
    """
    if len(new.value) > MAX_KEY_VALUE_BYTES:
        raise KeyTooLarge(f"The value has {len(new.value)} bytes; the limit is {MAX_KEY_VALUE_BYTES}.")
    if not new.value:
        raise InvalidRequest("The value is empty; to take a key away, delete it.")
    if new.expires_at is not None and new.expires_at <= now_us():
        raise InvalidRequest("`expires_at` is in the past.")
    if new.note is not None:
        _check_text(new.note, "note", 4 * MAX_NOTE_CHARS)
        if len(new.note) > MAX_NOTE_CHARS:
            raise InvalidRequest(f"`note` has more than {MAX_NOTE_CHARS} characters.")
    tags = new.tags or {}
    if len(tags) > MOST_TAGS:
        raise InvalidRequest(f"A key has at most {MOST_TAGS} tags.")
    for tag, value in tags.items():
        if not tag or len(tag) > MAX_TAG_CHARS or ":" in tag:
            raise InvalidRequest(f"A tag's name has 1 to {MAX_TAG_CHARS} characters and no `:`.")
        if len(value) > MAX_TAG_VALUE_CHARS:
            raise InvalidRequest(f"The value of the tag {tag!r} has more than {MAX_TAG_VALUE_CHARS} characters.")
        _check_text(tag, "tags", 4 * MAX_TAG_CHARS)
        _check_text(value, "tags", 4 * MAX_TAG_VALUE_CHARS)


def check_precondition(precondition: Precondition, rev: int | None) -> None:
    """Refuse a change of a key that is not as the caller believes.

    Raises:
        KeyExists, RevisionConflict: with the revision that it is at.
    """
    if precondition.present is False and rev is not None:
        raise KeyExists("There is a key of this name already.", details={"rev": rev})
    missing = rev is None and (precondition.present is True or precondition.revisions is not None)
    if missing or (precondition.revisions is not None and rev not in precondition.revisions):
        raise RevisionConflict("The key is not at the revision that If-Match names.", details={"rev": rev})
