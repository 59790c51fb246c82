"""Writes the reference pages that are made from the code; `./dev docs` runs it, a test holds them true."""

from pathlib import Path

from mesh_protocol.codes import CODES

HERE = Path(__file__).parent
BODY = """{"success": false, "request_id": "req_…",
 "error": {"code": "…", "message": "…", "type": "…", "details": {}, "troubleshooting": ["…"]}}"""


def errors() -> str:
    """Return docs/reference/errors.md."""
    lines = [
        "# Errors",
        "",
        "Made from `mesh_protocol.codes` by `./dev docs`. The body of every error of Mesh's own surface is",
        "",
        "```json",
        BODY,
        "```",
        "",
        (
            "and the request id is also in the header `x-request-id`. A code keeps its meaning for ever; messages may "
            "change. Codes without a status come from the client and never from a server. Under `/v1/` errors have "
            "OpenAI's format."
        ),
        "",
        "| code | status | type | later? | what to do |",
        "|---|---|---|---|---|",
    ]
    for name, code in CODES.items():
        again = "yes" if code.retryable else ""
        lines.append(f"| `{name}` | {code.status or ''} | {code.type} | {again} | {' '.join(code.advice)} |")
    return "\n".join(lines) + "\n"


PAGES = {HERE / "reference" / "errors.md": errors}


def main() -> None:
    """Write every page."""
    for path, render in PAGES.items():
        path.write_text(render(), "utf-8")


if __name__ == "__main__":
    main()
