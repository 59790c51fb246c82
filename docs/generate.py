"""Writes the reference pages that are made from the code; `./dev docs` runs it, a test holds them true."""

import sys
from pathlib import Path

from mesh_protocol.codes import CODES

HERE = Path(__file__).parent
CATALOG = HERE.parent / "server/src/mesh_server/chat/catalog"
sys.path.insert(0, str(HERE))  # the pages that need more than a function have a module each, beside this one

import command_reference  # noqa: E402
import prices  # noqa: E402
import sdk_catalog  # noqa: E402
import sdk_reference  # noqa: E402

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
            "change. Codes without a status come from the client and never from a server. Under `/v1/` errors have the "
            "format, the status and the headers of OpenAI's API or of Anthropic's."
        ),
        "",
        "| code | status | type | later? | what to do |",
        "|---|---|---|---|---|",
    ]
    for name, code in CODES.items():
        again = "yes" if code.retryable else ""
        lines.append(f"| `{name}` | {code.status or ''} | {code.type} | {again} | {' '.join(code.advice)} |")
    return "\n".join(lines) + "\n"


PAGES = {
    HERE / "reference" / "commands.md": command_reference.page,
    HERE / "reference" / "errors.md": errors,
    HERE / "reference" / "sdk.md": sdk_reference.page,
    CATALOG / "prices.json": prices.prices,
}
if sdk_catalog.SOURCE.is_file():
    PAGES[sdk_catalog.TARGET] = sdk_catalog.catalog


def main() -> None:
    """Write every page."""
    for path, render in PAGES.items():
        path.write_text(render(), "utf-8")


if __name__ == "__main__":
    main()
