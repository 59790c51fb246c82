"""The vault's SQL, compiled once per dialect. Every statement is bound to a tenant and an owner."""

from itertools import product

from sqlalchemy import Select, bindparam, insert, null, select, update
from sqlalchemy.sql.dml import Delete
from sqlalchemy.sql.expression import delete

from mesh_server.vault.models import key_tags, key_versions, keys

_OWNED = (keys.c.tenant_id == bindparam("tenant_")) & (keys.c.owner_id == bindparam("owner_"))
_IN_NAMESPACE = _OWNED & (keys.c.namespace == bindparam("namespace_"))
_NAMED = _IN_NAMESPACE & (keys.c.name == bindparam("name_"))
_BY_ID = _OWNED & (keys.c.id == bindparam("id_"))
_LIVE = keys.c.deleted_at.is_(None) & (keys.c.expires_at.is_(None) | (keys.c.expires_at > bindparam("now_")))

RECORD = (
    keys.c.id,
    keys.c.name,
    keys.c.namespace,
    keys.c.current_version,
    keys.c.rev,
    keys.c.note,
    keys.c.created_at,
    keys.c.updated_at,
    keys.c.expires_at,
)

FIND = select(*RECORD, keys.c.deleted_at).where(_NAMED)

OPEN = (
    select(
        *RECORD, key_versions.c.tenant_key_id, key_versions.c.is_text, key_versions.c.wrapped_dek, key_versions.c.blob
    )
    .join(
        key_versions,
        (key_versions.c.tenant_id == keys.c.tenant_id)
        & (key_versions.c.key_id == keys.c.id)
        & (key_versions.c.version == keys.c.current_version),
    )
    .where(_NAMED, _LIVE)
)

ADD = insert(keys).values(
    tenant_id=bindparam("tenant_"),
    id=bindparam("id_"),
    owner_id=bindparam("owner_"),
    namespace=bindparam("namespace_"),
    name=bindparam("name_"),
    current_version=1,
    rev=1,
    note=bindparam("note_"),
    created_at=bindparam("now_"),
    updated_at=bindparam("now_"),
    expires_at=bindparam("expires_at_"),
)

NEW_VERSION = (
    update(keys)
    .where(_BY_ID)
    .values(
        current_version=bindparam("version_"),
        rev=bindparam("rev_"),
        note=bindparam("note_"),
        created_at=bindparam("created_at_"),
        updated_at=bindparam("now_"),
        expires_at=bindparam("expires_at_"),
        deleted_at=null(),
    )
)

ADD_VERSION = insert(key_versions).values(
    tenant_id=bindparam("tenant_"),
    key_id=bindparam("id_"),
    version=bindparam("version_"),
    tenant_key_id=bindparam("tenant_key_"),
    is_text=bindparam("is_text_"),
    wrapped_dek=bindparam("wrapped_dek_"),
    blob=bindparam("blob_"),
    created_at=bindparam("now_"),
)

DESTROY_UP_TO = (
    update(key_versions)
    .where(
        key_versions.c.tenant_id == bindparam("tenant_"),
        key_versions.c.key_id == bindparam("id_"),
        key_versions.c.version <= bindparam("version_"),
        key_versions.c.destroyed_at.is_(None),
    )
    .values(wrapped_dek=null(), blob=null(), destroyed_at=bindparam("now_"))
)

MARK_DELETED = (
    update(keys).where(_BY_ID).values(deleted_at=bindparam("now_"), updated_at=bindparam("now_"), rev=bindparam("rev_"))
)
MARK_RESTORED = (
    update(keys).where(_BY_ID).values(deleted_at=null(), updated_at=bindparam("now_"), rev=bindparam("rev_"))
)

_TAGS_OF = (key_tags.c.tenant_id == bindparam("tenant_")) & (key_tags.c.key_id == bindparam("id_"))
TAGS = select(key_tags.c.tag, key_tags.c.value).where(_TAGS_OF).order_by(key_tags.c.tag)
DROP_TAGS = delete(key_tags).where(_TAGS_OF)
ADD_TAG = insert(key_tags).values(
    tenant_id=bindparam("tenant_"), key_id=bindparam("id_"), tag=bindparam("tag_"), value=bindparam("value_")
)

EXPIRED_DELETIONS = (
    select(keys.c.tenant_id, keys.c.id)
    .where(keys.c.deleted_at <= bindparam("before_"))
    .order_by(keys.c.deleted_at)
    .limit(bindparam("limit_"))
)


def _purge(table: str) -> Delete:
    if table == "keys":
        return delete(keys).where(keys.c.tenant_id == bindparam("tenant_"), keys.c.id == bindparam("id_"))
    if table == "key_versions":
        return delete(key_versions).where(
            key_versions.c.tenant_id == bindparam("tenant_"), key_versions.c.key_id == bindparam("id_")
        )
    return DROP_TAGS


PURGE = tuple(_purge(table) for table in ("key_tags", "key_versions", "keys"))


def _page(with_prefix: bool, with_tag: bool) -> Select[tuple[object, ...]]:  # noqa: FBT001 - two switches of one text
    found = select(*RECORD).where(_IN_NAMESPACE, _LIVE, keys.c.name > bindparam("after_"))
    if with_prefix:
        # A range over the index; LIKE would need escaping and a case-sensitive collation.
        found = found.where(keys.c.name >= bindparam("prefix_"), keys.c.name < bindparam("prefix_end_"))
    if with_tag:
        found = found.where(
            select(key_tags.c.key_id)
            .where(
                key_tags.c.tenant_id == keys.c.tenant_id,
                key_tags.c.key_id == keys.c.id,
                key_tags.c.tag == bindparam("tag_"),
                key_tags.c.value == bindparam("value_"),
            )
            .exists()
        )
    page = found.order_by(keys.c.name).limit(bindparam("limit_")).subquery("page")
    return (
        select(page, key_tags.c.tag, key_tags.c.value)
        .outerjoin(key_tags, (key_tags.c.tenant_id == bindparam("tenant_")) & (key_tags.c.key_id == page.c.id))
        .order_by(page.c.name, key_tags.c.tag)
    )


#: By (with prefix, with tag).
PAGES = {switches: _page(*switches) for switches in product((False, True), repeat=2)}
