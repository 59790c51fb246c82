"""How providers of OpenAI's formats are called: OpenAI itself, Ollama, vLLM, another Mesh, the local model."""

from mesh_server.chat.formats.common import CHAT, RESPONSES, ChatRequest, Format
from mesh_server.chat.formats.same import member
from mesh_server.chat.models import Target

_PATHS: dict[Format, str] = {CHAT: "/chat/completions", RESPONSES: "/responses"}


def path(target: Target, format: Format) -> str:  # noqa: A002 - the word of the field
    """Return the address of a format's endpoint."""
    return target.base_url + _PATHS[format]


def models_path(target: Target) -> str:
    """Return the address of the list of models."""
    return target.base_url + "/models"


def headers(key: str | None) -> dict[str, str]:
    """Return the headers that a call carries beside those of every call."""
    return {"authorization": f"Bearer {key}"} if key is not None else {}


def format_for(request: ChatRequest, target: Target) -> Format:
    """Return the format in which a request goes to a provider of this kind: its own where the provider has it.

    Chat completions is what every server of this kind has. Responses carries thinking over the turns of a tool, and
    OpenAI's newest models take tools there only; stop sequences are in chat completions only.
    """
    if not target.responses:
        return CHAT
    if request.format == RESPONSES:
        return RESPONSES
    if member(request.fields, "stop") or member(request.fields, "stop_sequences"):
        return CHAT
    if request.format != CHAT:
        return RESPONSES
    needs = not target.abilities.tools_in_chat and bool(member(request.fields, "tools"))
    return RESPONSES if needs and member(request.fields, "reasoning_effort") != "none" else CHAT
