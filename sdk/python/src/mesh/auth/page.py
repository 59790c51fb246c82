"""The pages that a browser lands on after a login: no script, nothing from elsewhere, nothing of the login in them."""

import base64
import hashlib
import html

_STYLE = """
:root{color-scheme:light dark;
--back:#f6f6f4;--card:#fff;--text:#1c1c1a;--soft:#5c5c57;--line:#e3e2dd;--good:#1a7f4b;--bad:#b3261e}
@media(prefers-color-scheme:dark){:root{
--back:#161614;--card:#20201d;--text:#f1f0ec;--soft:#a9a8a1;--line:#34332f;--good:#5fd39a;--bad:#ff8a80}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;display:grid;place-items:center;padding:1.5rem;background:var(--back);color:var(--text);
font:1.0625rem/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{width:100%;max-width:28rem;padding:2.5rem 2.25rem;text-align:center;
background:var(--card);border:1px solid var(--line);border-radius:1rem}
svg{width:3.5rem;height:3.5rem;margin-bottom:1rem}
h1{margin:0 0 .5rem;font-size:1.5rem;line-height:1.25}
p{margin:.5rem 0 0;color:var(--soft);overflow-wrap:anywhere}
code{font:.95em ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;color:var(--text)}
.good{color:var(--good)}.bad{color:var(--bad)}
"""
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

#: Sent with every page.
HEADERS = (
    ("content-type", "text/html; charset=utf-8"),
    (
        "content-security-policy",
        f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("cache-control", "no-store"),
    ("referrer-policy", "no-referrer"),
    ("x-content-type-options", "nosniff"),
)

_TICK = '<path d="M7.5 12.5l3 3 6-6.5"/>'
_CROSS = '<path d="M8.5 8.5l7 7M15.5 8.5l-7 7"/>'
_DOTS = '<path d="M12 7.5v5.5M12 16.2v.1"/>'


def done(server: str) -> bytes:
    """Return the page for a login that was finished."""
    return _page(
        "You are logged in",
        "good",
        _TICK,
        f"This computer can now use <code>{html.escape(server)}</code>.",
        "You can close this page and go back to your terminal.",
    )


def failed(sentence: str) -> bytes:
    """Return the page for a login that came to nothing."""
    return _page(
        "The login did not work",
        "bad",
        _CROSS,
        html.escape(sentence),
        "You can close this page. Your terminal says what to do next.",
    )


def stray() -> bytes:
    """Return the page for a request that belongs to no login that waits."""
    return _page(
        "This page belongs to another login",
        "bad",
        _DOTS,
        "It may be left over from an earlier try.",
        "Close it, and use the address that your terminal shows now.",
    )


def _page(title: str, tone: str, mark: str, first: str, second: str) -> bytes:
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<title>{title} · Mesh</title><style>{_STYLE}</style></head>
<body><main><svg class="{tone}" viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="1.6"
stroke-linecap="round" stroke-linejoin="round" aria-hidden="true"><circle cx="12" cy="12" r="10"/>{mark}</svg>
<h1>{title}</h1><p>{first}</p><p>{second}</p></main></body></html>
""".encode()
