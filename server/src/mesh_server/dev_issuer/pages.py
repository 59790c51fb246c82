"""The dev issuer's pages: plain HTML that works without JavaScript and loads nothing from anywhere."""

import base64
import hashlib
from html import escape

_STYLE = """
:root{color-scheme:light dark;--ink:#1c2330;--soft:#566076;--line:#c3c9d6;--page:#f3f5f9;--card:#fff;--go:#1f55c4;
--go-ink:#fff;--bad:#a1201d;--bad-page:#fdeceb}
@media(prefers-color-scheme:dark){:root{--ink:#e8ebf2;--soft:#a5aec0;--line:#495369;--page:#12151c;--card:#1c212c;
--go:#7ea6ff;--go-ink:#0d1526;--bad:#ffaaa4;--bad-page:#3a1d1f}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;display:flex;justify-content:center;align-items:flex-start;background:var(--page);
color:var(--ink);font:17px/1.5 system-ui,sans-serif;padding:clamp(1rem,8vh,6rem) 1rem}
main{width:100%;max-width:27rem;background:var(--card);border:1px solid var(--line);border-radius:14px;
padding:clamp(1.25rem,5vw,2.25rem)}
.brand{margin:0 0 1.25rem;color:var(--soft);font-size:.9rem}
.brand b{color:var(--ink)}
h1{margin:0 0 .5rem;font-size:1.5rem;line-height:1.25}
p{margin:0 0 1rem}
label{display:block;font-weight:600;margin:1.1rem 0 .3rem}
.hint{color:var(--soft);font-size:.92rem;margin:.3rem 0 0}
input{width:100%;font:inherit;color:inherit;background:transparent;border:1px solid var(--soft);border-radius:8px;
padding:.6rem .75rem}
input.code{font-family:ui-monospace,Menlo,Consolas,monospace;font-size:1.35rem;letter-spacing:.14em}
input:focus-visible,button:focus-visible{outline:3px solid var(--go);outline-offset:2px}
.buttons{display:flex;flex-wrap:wrap;gap:.75rem;margin-top:1.6rem}
button{flex:1 1 8rem;font:inherit;font-weight:600;border-radius:8px;padding:.7rem 1rem;cursor:pointer;
border:1px solid var(--go);background:var(--go);color:var(--go-ink)}
button.second{background:transparent;color:var(--ink);border-color:var(--line)}
.alert{background:var(--bad-page);color:var(--bad);border-radius:8px;padding:.7rem .9rem;margin:0 0 1rem}
.shown{font:600 1.6rem ui-monospace,Menlo,Consolas,monospace;letter-spacing:.12em;margin:0 0 1rem}
dl{margin:0 0 1rem;display:grid;grid-template-columns:auto 1fr;gap:.25rem 1rem}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
""".strip()
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

_WANTS = {
    "openid": "know who you are",
    "profile": "see your name",
    "email": "see your e-mail address",
    "offline_access": "stay logged in",
}


def headers(*, form_action: str = "'self'") -> list[tuple[bytes, bytes]]:
    """Return the headers of every page: nothing is loaded, nothing frames it, nothing of it is kept.

    Args:
        form_action: where its form may lead, redirects included, in the words of the policy.
    """
    policy = (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action {form_action}; "
        "frame-ancestors 'none'; base-uri 'none'"
    )
    return [
        (b"content-type", b"text/html; charset=utf-8"),
        (b"content-security-policy", policy.encode()),
        (b"x-frame-options", b"DENY"),
        # Not `no-referrer`: a browser would then send `Origin: null`, and the forms could not be told from forged ones.
        (b"referrer-policy", b"same-origin"),
        (b"cache-control", b"no-store"),
    ]


def device(*, action: str, user_code: str = "", problem: str = "") -> bytes:
    """Return the page on which the code of a device is entered."""
    return _page(
        "Connect a device",
        f"""<h1>Connect a device</h1>
<p>Enter the code that the terminal or the device shows.</p>
{_alert(problem)}<form method="post" action="{escape(action)}">
<label for="user_code">Code</label>
<input class="code" id="user_code" name="user_code" value="{escape(user_code)}" required maxlength="20"
 autocomplete="off" autocapitalize="characters" spellcheck="false" placeholder="ABCD-EFGH" autofocus>
<div class="buttons"><button>Continue</button></div>
</form>""",
    )


def sign_in(
    *, action: str, sign_in_id: str, scope: str, user_code: str | None, where: str, name: str, problem: str = ""
) -> bytes:
    """Return the page that asks for a name and the one-time code.

    Args:
        action: where its form goes.
        sign_in_id: which sign-in it belongs to.
        scope: what is asked for.
        user_code: what the device shows; None for a login in this browser.
        where: what is logged in.
        name: the name to begin with.
        problem: what was wrong with the last try.
    """
    shown = ""
    if user_code is not None:
        shown = (
            "<p>Go on only if this is the code that your device shows, and you began this yourself:</p>"
            f'<p class="shown">{escape(user_code)}</p>'
        )
    wants = ", ".join(text for word, text in _WANTS.items() if word in scope.split()) or "log in"
    return _page(
        "Log in",
        f"""<h1>Log in to Mesh</h1>
{shown}<dl><dt>For</dt><dd>{escape(where)}</dd><dt>It may</dt><dd>{escape(wants)}</dd></dl>
{_alert(problem)}<form method="post" action="{escape(action)}">
<input type="hidden" name="sign_in" value="{escape(sign_in_id)}">
<label for="name">Your name</label>
<input id="name" name="name" value="{escape(name)}" required maxlength="64" pattern="[A-Za-z0-9._@+\\-]+"
 autocomplete="username" autocapitalize="none" spellcheck="false" aria-describedby="name-hint">
<p class="hint" id="name-hint">Each name is an account of its own: letters, digits and <code>. _ @ + -</code>.</p>
<label for="code">One-time code</label>
<input class="code" id="code" name="code" inputmode="numeric" autocomplete="one-time-code" maxlength="10"
 aria-describedby="code-hint" autofocus>
<p class="hint" id="code-hint">Six digits, printed just now in the terminal where <code>mesh-server dev</code> runs.</p>
<div class="buttons"><button name="action" value="allow">Log in</button>
<button class="second" name="action" value="deny" formnovalidate>Cancel</button></div>
</form>""",
    )


def done(*, title: str, text: str) -> bytes:
    """Return a page after which there is nothing to do."""
    return _page(title, f"<h1>{escape(title)}</h1>\n<p>{escape(text)}</p>")


def error(*, message: str, request_id: str) -> bytes:
    """Return the page of a failure."""
    return _page(
        "This did not work",
        f"<h1>This did not work</h1>\n{_alert(message)}"
        "<p>Start the login again where you began it. Nothing was granted.</p>"
        f'<p class="hint">{escape(request_id)}</p>',
    )


def _alert(problem: str) -> str:
    return f'<p class="alert" role="alert">{escape(problem)}</p>\n' if problem else ""


def _page(title: str, body: str) -> bytes:
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1">
<title>{escape(title)} · Mesh</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<p class="brand"><b>Mesh</b> · issuer of this machine, for development</p>
{body}
</main>
</body>
</html>
""".encode()
