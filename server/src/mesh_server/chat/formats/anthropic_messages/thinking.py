"""How much an Anthropic model shall think: each generation has other words for it."""

from typing import Any

from mesh_server.chat.formats.common import Abilities, Conversation, Thought

#: The least budget that the API takes.
LEAST_BUDGET = 1024
#: A budget for models that know no effort, in tokens.
_BUDGETS = {"minimal": 1024, "low": 1024, "medium": 4096, "high": 16_384, "xhigh": 32_000, "max": 64_000}
#: An effort for models that know no budget: up to so many tokens.
EFFORTS = ((2048, "low"), (8192, "medium"), (32_000, "high"))
#: Tokens left for the answer where the budget takes the whole limit.
_ROOM = 4096


def thinking(
    asked: Conversation, body: dict[str, Any], config: dict[str, Any], abilities: Abilities, warnings: list[str]
) -> None:
    """Write into the body, and into its `output_config`, how much shall be thought.

    Where a limit of tokens does not leave room for a budget, it is raised.
    """
    thought = asked.thought
    if thought is None:
        return
    if abilities.thinking == "none":
        if thought.mode != "off":
            warnings.append("Thinking was left out: this model can't be told to think.")
        return
    forced = body.get("tool_choice", {}).get("type") in {"any", "tool"}
    if forced and thought.mode != "off":
        warnings.append("Thinking was left out: it can't go together with a forced tool.")
        return
    if abilities.thinking == "budget":
        _with_budget(thought, body, abilities, warnings)
    else:
        _adaptive(thought, body, config, abilities, warnings)


def _with_budget(thought: Thought, body: dict[str, Any], abilities: Abilities, warnings: list[str]) -> None:
    if thought.mode in {"off", "between_tools"}:
        return  # these models think only when told to
    if _is_unsigned_tool_turn(body["messages"]):
        warnings.append("Thinking was left out: the last turn called tools without its `thinking_blocks`.")
        return
    budget = thought.budget or _BUDGETS.get(thought.effort or "medium", 4096)
    most = abilities.max_output
    if most is not None:
        budget = min(budget, most - _ROOM)
    budget = max(budget, LEAST_BUDGET)
    if body["max_tokens"] <= budget:
        raised = budget + max(body["max_tokens"], _ROOM)
        body["max_tokens"] = min(raised, most) if most is not None else raised
    body["thinking"] = {"type": "enabled", "budget_tokens": budget}


def _adaptive(
    thought: Thought, body: dict[str, Any], config: dict[str, Any], abilities: Abilities, warnings: list[str]
) -> None:
    effort = "low" if thought.effort == "minimal" else thought.effort
    if thought.mode == "off":
        if abilities.thinking_off:
            body["thinking"] = {"type": "disabled"}
        else:
            warnings.append("This model always thinks: it was told to think little.")
            effort = effort or "low"
    elif thought.mode == "between_tools":
        body["thinking"] = {"type": "between_tools"}
    else:
        if thought.budget is not None and effort is None:
            effort = next((word for most, word in EFFORTS if thought.budget <= most), "xhigh")
            warnings.append(f"A budget of {thought.budget} tokens for thinking became the effort {effort!r}.")
        shown = {True: "summarized", False: "omitted"}
        body["thinking"] = {"type": "adaptive"}
        if thought.shown is not None:
            body["thinking"]["display"] = shown[thought.shown]
    if effort is not None:
        config["effort"] = effort


def _is_unsigned_tool_turn(messages: list[dict[str, Any]]) -> bool:
    """Return whether the turn to be continued called tools and does not begin with thinking: the API refuses that."""
    if not messages or not any(block["type"] == "tool_result" for block in messages[-1]["content"]):
        return False
    said: list[dict[str, Any]] = next((m["content"] for m in reversed(messages) if m["role"] == "assistant"), [])
    return bool(said) and said[0]["type"] not in {"thinking", "redacted_thinking"}
