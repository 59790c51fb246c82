"""The first minute with Mesh: chat, store a secret, read it back, prove it, lose it, restore it, and see a failure.

Runs against the server of the current profile (`mesh-server dev` writes one) and leaves nothing in its vault.
"""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Console
from rich.status import Status
from rich.table import Table

import mesh

KEY = "first_minute_example"
SECRET = "correct-horse-battery-staple"  # noqa: S105 - an example's secret


class Unexpected(Exception):
    """A step that did not do what it should."""


@dataclass
class Step:
    """One row of the table at the end."""

    name: str
    happened: str
    seconds: float
    good: bool


class FirstMinute:
    """The steps, in order; each returns what happened in a few words, or raises.

    Args:
        client: a client of a server that is running.
        console: where progress and answers go.
        max_tokens: an upper limit for each answer.
    """

    def __init__(self, client: mesh.MeshClient, console: Console, max_tokens: int | None = None) -> None:
        self.client = client
        self.console = console
        self.max_tokens = max_tokens
        self.steps: list[Step] = []

    def run(self) -> bool:
        """Take every step; return whether all did what they should."""
        for name, action in (
            ("Chat, streamed", self.chat),
            ("Chat with a system prompt", self.chat_with_system_prompt),
            ("Store a key", self.store),
            ("List keys", self.list),
            ("Read the key back", self.read),
            ("Prove the key", self.prove),
            ("Delete the key", self.delete),
            ("Restore the key", self.restore),
            ("A call that must fail", self.fail),
        ):
            self._take(name, action)
        self.client.delete_key(KEY)
        return all(step.good for step in self.steps)

    def _take(self, name: str, action: Callable[[], str]) -> None:
        self.console.print(f"\n[bold]{len(self.steps) + 1}. {name}[/bold]")
        started = time.perf_counter()
        try:
            happened, good = action(), True
        except (Unexpected, mesh.MeshError) as problem:
            happened, good = str(problem), False
            self.console.print(f"[red]{problem}[/red]", highlight=False)
        self.steps.append(Step(name, happened, time.perf_counter() - started, good))

    def chat(self) -> str:
        """Stream an answer to the terminal as it comes."""
        self.console.print("> Hello, world!", style="dim")
        waiting = Status("the model is loading", console=self.console)
        waiting.start()
        with self.client.chat("Hello, world!", stream=True, max_tokens=self.max_tokens) as stream:
            pieces = 0
            for piece in stream:
                waiting.stop()
                pieces += 1
                self.console.print(piece.text, end="", markup=False, highlight=False, soft_wrap=True)
        self.console.print()
        expect(pieces > 1, "the answer did not come as a stream")
        return _spent(stream.response)

    def chat_with_system_prompt(self) -> str:
        """Ask once more, this time for a whole answer."""
        question = "What is the capital of France?"
        self.console.print(f"> {question}", style="dim")
        answer = self.client.chat(question, system="You answer in one short sentence.", max_tokens=self.max_tokens)
        expect(answer["success"], str(answer.get("error")))
        self.console.print(str(answer), markup=False, highlight=False)
        expect(bool(answer.content.strip()), "the answer is empty")
        return _spent(answer)

    def store(self) -> str:
        """Store a key."""
        stored = self.client.store_key(key_name=KEY, key_value=SECRET)
        expect(stored["success"], str(stored.get("error")))
        return self._tell(f"{KEY} is version {stored['version']}, encrypted at rest")

    def list(self) -> str:
        """List the keys: names only."""
        names = self.client.list_keys()
        expect(KEY in names, "the key is not in the list")
        return self._tell(", ".join(names))

    def read(self) -> str:
        """Read the key back."""
        value = self.client.get_key(KEY)
        expect(value == SECRET, "the value that came back is another one")
        return self._tell(f"the same {len(SECRET)} characters came back")

    def prove(self) -> str:
        """Prove the value without sending it, and see that another value does not pass."""
        stored = self.client.store_key(key_name=KEY, key_value=SECRET, provable=True)
        expect(stored["success"], str(stored.get("error")))
        right = self.client.verify_key(key_name=KEY, key_value=SECRET)
        expect(right["success"] and right["verified"], str(right.get("error", "the right value was refused")))
        wrong = self.client.verify_key(key_name=KEY, key_value=SECRET + "r")
        expect(wrong["success"] and not wrong["verified"], str(wrong.get("error", "a wrong value was accepted")))
        return self._tell("the right value passes, another does not, and neither was sent")

    def delete(self) -> str:
        """Delete the key, and see that it is gone."""
        deleted = self.client.delete_key(KEY)
        expect(deleted["success"], str(deleted.get("error")))
        expect(self.client.get_key(KEY) is None, "a deleted key can still be read")
        return self._tell(f"gone, restorable until {str(deleted['restorable_until'])[:10]}")

    def restore(self) -> str:
        """Take the deletion back."""
        restored = self.client.restore_key(KEY)
        expect(restored["success"], str(restored.get("error")))
        expect(self.client.get_key(KEY) == SECRET, "the restored key has another value")
        return self._tell("the value is there again")

    def fail(self) -> str:
        """Ask a provider for which nobody has stored a key."""
        answer = self.client.chat("Hello?", provider="openai", model="gpt-4o")
        expect(not answer.get("success", True), "a call without a key for its provider succeeded")
        expect(answer["code"] == "provider_key_missing", f"it failed with {answer['code']}: {answer['error']}")
        self.console.print(f"Error: {answer['error']}", style="yellow", highlight=False)
        for step in answer["troubleshooting"]:
            self.console.print(f"  - {step}", style="yellow", highlight=False)
        return f"failed as it should: {answer['code']}"

    def _tell(self, text: str) -> str:
        self.console.print(text, highlight=False)
        return text


def expect(condition: object, otherwise: str) -> None:
    """Raise Unexpected with the sentence unless the condition holds."""
    if not condition:
        raise Unexpected(otherwise)


def _spent(answer: mesh.ChatResult) -> str:
    return f"{answer.model}: {answer.usage.output_tokens} tokens"


def table(steps: list[Step]) -> Table:
    """Return the steps as a table for the terminal."""
    made = Table("Step", "What happened", "Time", title="The first minute")
    made.columns[2].justify = "right"
    for step in steps:
        mark = "[green]✓[/green]" if step.good else "[red]✗[/red]"
        made.add_row(f"{mark} {step.name}", step.happened, f"{step.seconds:.2f} s")
    return made


def main() -> int:
    """Take the steps and return 0 only if each did what it should."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--max-tokens", type=int, default=200, help="upper limit for each answer")
    arguments = parser.parse_args()
    console = Console()
    with mesh.MeshClient() as client:
        minute = FirstMinute(client, console, arguments.max_tokens)
        good = minute.run()
    console.print()
    console.print(table(minute.steps))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
