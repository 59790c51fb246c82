"""What the trail says of the things it is about: what `verify` holds against the tables."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from mesh_server.audit.models import CUT, Event


@dataclass(slots=True)
class Known:
    """What the trail says of the things it is about; by their ids.

    Attributes:
        revisions: the highest revision of each key.
        purged: keys that were removed for good.
        tokens: API tokens, and whether they were revoked.
        grants: grants that were given, and whether they were taken back.
        accounts: accounts by (tenant, id).
        events: how many events there are.
        checkpoints: how many checkpoints there are.
    """

    revisions: dict[str, int] = field(default_factory=dict)
    purged: set[str] = field(default_factory=set)
    tokens: dict[str, bool] = field(default_factory=dict)
    grants: dict[str, bool] = field(default_factory=dict)
    accounts: set[tuple[str, str]] = field(default_factory=set)
    events: int = 0
    checkpoints: int = 0

    def learn(self, event: Event) -> None:
        """Take note of an event that was found to be genuine."""
        self.events += 1
        details: dict[str, Any] = msgspec.json.decode(event.details)
        match event.action.partition(".")[0], event.action.partition(".")[2]:
            case "key", "refused":
                pass  # nothing came of it
            case "key", "purged":
                self.purged.add(details["id"])
            case "key" | "version", _:
                self.revisions[details["id"]] = max(self.revisions.get(details["id"], 0), details["rev"])
            case "token", "created":
                self.tokens.setdefault(event.object, False)
            case "token", "revoked":
                self.tokens[event.object] = True
            case "grant", "given":
                self.grants.setdefault(details["id"], False)
            case "grant", _:
                self.grants[details["id"]] = True
            case "account", "created":
                self.accounts.add((event.tenant_id, event.object))
            case _ if event.action == CUT:
                self._recall(details)
            case _:
                pass

    def facts(self) -> dict[str, object]:
        """Return what is known as JSON values, from which an event of a cut makes it known again."""
        found: dict[str, object] = {
            # a key that was removed for good has no newest revision any more
            "revisions": {key: rev for key, rev in self.revisions.items() if key not in self.purged},
            "purged": sorted(self.purged),
            "tokens": self.tokens,
            "grants": self.grants,
            "accounts": sorted(self.accounts),
        }
        return {name: value for name, value in found.items() if value}

    def __len__(self) -> int:
        """Return how many things are known."""
        return sum(map(len, (self.revisions, self.purged, self.tokens, self.grants, self.accounts)))

    def _recall(self, facts: Mapping[str, Any]) -> None:
        """Take note of what events said that are not in the trail any more."""
        for key, rev in facts.get("revisions", {}).items():
            self.revisions[key] = max(self.revisions.get(key, 0), rev)
        self.purged.update(facts.get("purged", ()))
        for mine, ended in ((self.tokens, facts.get("tokens", {})), (self.grants, facts.get("grants", {}))):
            for thing, is_over in ended.items():
                mine[thing] = mine.get(thing, False) or is_over
        self.accounts.update((tenant, account) for tenant, account in facts.get("accounts", ()))
