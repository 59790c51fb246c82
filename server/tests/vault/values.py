"""What the vault's tests store, and how they look at it."""

from mesh_server.vault.models import NewValue


def text(value="secret", **described):
    return NewValue(value=value.encode(), is_text=True, **described)


async def names(parts, principal, **arguments):
    records, _ = await parts.vault.list_keys(principal, **arguments)
    return [record.name for record in records]
