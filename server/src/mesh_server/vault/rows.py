"""Rows of the vault's statements become records."""

from collections.abc import Collection
from dataclasses import replace

from mesh_server.db.schema import Row
from mesh_server.vault.models import KeyRecord


def as_record(row: Row, tags: dict[str, str]) -> KeyRecord:
    """Return the record of the columns `statements.RECORD`."""
    key_id, name, namespace, version, rev, note, created_at, updated_at, expires_at = row[:9]
    return KeyRecord(
        id=key_id,
        name=name,
        namespace=namespace,
        version=version,
        rev=rev,
        tags=tags,
        note=note,
        created_at=created_at,
        updated_at=updated_at,
        expires_at=expires_at,
    )


def with_tags(rows: list[Row]) -> list[KeyRecord]:
    """Return one record for each key, from a row for each of its tags."""
    records: list[KeyRecord] = []
    for row in rows:
        if not records or records[-1].id != row[0]:
            records.append(as_record(row, {}))
        if row[9] is not None:
            records[-1].tags[row[9]] = row[10]
    return records


def marked(records: list[KeyRecord], provable: Collection[str]) -> list[KeyRecord]:
    """Return the records with `provable` set for those names."""
    return [replace(record, provable=True) if record.name in provable else record for record in records]
