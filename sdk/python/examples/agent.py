"""An agent with a notebook of its own: it looks notes up, adds some with your consent, and answers with an object.

python agent.py "What do I still have to buy? Add milk."
"""

import sys
from dataclasses import dataclass, field

import mesh


@dataclass
class Report:
    """What the agent answers with."""

    answer: str
    sources: list[str]


@dataclass
class Notes:
    """Notes by title."""

    texts: dict[str, str] = field(default_factory=lambda: {"shopping": "bread, apples"})

    def find(self, word: str) -> dict[str, str]:
        """Find notes.

        Args:
            word: That stands in the title or the text.
        """
        return {title: text for title, text in self.texts.items() if word in title or word in text}

    def add(self, title: str, text: str) -> str:
        """Add to a note, or begin one.

        Args:
            title: Of the note.
            text: What to add.
        """
        known = self.texts.get(title)
        self.texts[title] = text if known is None else f"{known}, {text}"
        return "done"


def consent(call: mesh.ToolCall) -> bool:
    """Let it read whatever it wants, and ask before it writes."""
    return call.name == "find" or input(f"{call.name}({call.arguments})? [y/n] ").strip() == "y"


def run(task: str, notes: Notes, client: mesh.MeshClient) -> Report:
    """Let the agent do a task and return what it reports.

    Raises:
        mesh.MeshError: if it can't.
    """
    answer = client.chat(
        task,
        system="You keep somebody's notes. Look before you answer.",
        tools=[notes.find, notes.add],
        approve=consent,
        response_format=Report,
        max_tool_rounds=4,
    )
    for result in answer.tool_results:
        print(f"  {result.name}({result.arguments}) -> {result.content}", file=sys.stderr)
    return answer.parsed


if __name__ == "__main__":
    with mesh.MeshClient(raise_on_error=True) as made:
        print(run(" ".join(sys.argv[1:]) or "What do I have to buy?", Notes(), made))
