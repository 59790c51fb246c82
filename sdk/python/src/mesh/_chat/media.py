"""Images and files as parts of a message, in OpenAI's form."""

import base64
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

#: Largest image or file in bytes: with base64 it still fits into the largest request that a server reads.
MAX_MEDIA_BYTES = 14 * 1024 * 1024

Media = str | os.PathLike[str] | bytes | bytearray | memoryview

#: The first bytes of each kind (the formats' own documents; WHATWG MIME Sniffing, section 6.1).
_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"%PDF-", "application/pdf"),
)


def image(source: Media, *, detail: str | None = None) -> dict[str, Any]:
    """Return an image as a part of a message.

    Args:
        source: a path, an http(s) or data URL, or the bytes of a PNG, JPEG, GIF or WebP.
        detail: `low`, `high` or `auto`, where the provider has a choice.

    Returns:
        `{"type": "image_url", "image_url": {"url": …}}`. Its kind is told by its first bytes, never by its name.

    Raises:
        OSError: if the file can't be read.
        TypeError, ValueError: if it is no image, or larger than 14 MiB.
    """
    url = source if isinstance(source, str) and _is_url(source) else None
    if url is None:
        content = _content(source, "image")
        kind = sniff(content)
        if kind is None or not kind.startswith("image/"):
            raise ValueError(f"the image is no PNG, JPEG, GIF or WebP{f': it is {kind}' if kind else ''}")
        url = f"data:{kind};base64,{base64.b64encode(content).decode()}"
    inner = {"url": url} if detail is None else {"url": url, "detail": detail}
    return {"type": "image_url", "image_url": inner}


def file(source: Media, *, name: str | None = None) -> dict[str, Any]:
    """Return a file as a part of a message: a PDF as it is, a text as text under its name.

    Args:
        source: a path, or the bytes of a PDF or of a text in UTF-8.
        name: what the model knows it by; default: the path's own.

    Returns:
        A part of type `file` for a PDF, of type `text` for a text.

    Raises:
        OSError: if the file can't be read.
        TypeError, ValueError: if it is neither, a URL, or larger than 14 MiB.
    """
    if isinstance(source, str) and _is_url(source):
        raise ValueError("a file is given by its path or its bytes: providers do not fetch files by URL")
    content = _content(source, "file")
    if name is None:
        name = Path(source).name if isinstance(source, str | os.PathLike) else None
    if sniff(content) == "application/pdf":
        data = f"data:application/pdf;base64,{base64.b64encode(content).decode()}"
        return {"type": "file", "file": {"filename": name or "document.pdf", "file_data": data}}
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise ValueError("the file is neither a PDF nor a text in UTF-8; for a picture use an image")
    return {"type": "text", "text": f"{name or 'file'}:\n\n{text}"}


def sniff(content: bytes) -> str | None:
    """Return the media type that the first bytes tell; None where they tell none that a model reads."""
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for magic, kind in _MAGIC if content.startswith(magic)), None)


def parts(
    text: str, images: Sequence[Media | dict[str, Any]] | None, files: Sequence[Media | dict[str, Any]] | None
) -> list[dict[str, Any]]:
    """Return a user's message with its images and files, which stand before the words that speak of them."""
    found: list[dict[str, Any]] = []
    for name, make, sources in (("images", image, images), ("files", file, files)):
        if sources is None:
            continue
        if isinstance(sources, str | bytes | bytearray | os.PathLike) or not isinstance(sources, Sequence):
            raise TypeError(f"{name} must be a list, also of one")
        found += [source if isinstance(source, dict) else make(source) for source in sources]
    return [*found, {"type": "text", "text": text}]


def _is_url(text: str) -> bool:
    return urlsplit(text[:16]).scheme in {"http", "https", "data"}


def _content(source: Media, what: str) -> bytes:
    if isinstance(source, bytes | bytearray | memoryview):
        content = bytes(source)
        size = len(content)
    elif isinstance(source, str | os.PathLike):
        path = Path(source)
        size = path.stat().st_size
        content = path.read_bytes() if size <= MAX_MEDIA_BYTES else b""
    else:
        raise TypeError(f"the {what} must be a path, a URL or bytes, not {type(source).__name__}")
    if size > MAX_MEDIA_BYTES:
        raise ValueError(f"the {what} has {size} bytes; the limit is {MAX_MEDIA_BYTES}: scale it down or cut it")
    if not content:
        raise ValueError(f"the {what} is empty")
    return content
