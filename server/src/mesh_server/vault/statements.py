"""The vault's SQL, compiled once per dialect. Every statement is bound to a tenant, and to an owner or one key's id."""

from sqlalchemy import Select, bindparam, func, insert, null, select, update
from sqlalchemy.sql.dml import Delete
from sqlalchemy.sql.expression import delete

from mesh_server.vault.models import key_tags, key_versions, keys, tenant_keys

_OWNED = (keys.c.tenant_id == bindparam("tenant_")) & (keys.c.owner_id == bindparam("owner_"))
_IN_NAMESPACE = _OWNED & (keys.c.namespace == bindparam("namespace_"))
_NAMED = _IN_NAMESPACE & (keys.c.name == bindparam("name_"))
_LIVE = keys.c.deleted_at.is_(None) & (keys.c.expires_at.is_(None) | (keys.c.expires_at > bindparam("now_")))

#: A key's row as `store.StoredKey` has it; all of it is under the row's mac.
KEY = (
    keys.c.id,
    keys.c.owner_id,
    keys.c.namespace,
    keys.c.name,
    keys.c.current_version,
    keys.c.rev,
    keys.c.note,
    keys.c.created_at,
    keys.c.updated_at,
    keys.c.expires_at,
    keys.c.deleted_at,
)
#: What of a version's row is under its mac.
VERSION = (
    key_versions.c.version,
    key_versions.c.tenant_key_id,
    key_versions.c.is_text,
    key_versions.c.created_at,
    key_versions.c.destroyed_at,
)

#: Whether a key has tags, which few have: so that only theirs are looked for.
_TAGGED = (
    select(key_tags.c.key_id)
    .where(key_tags.c.tenant_id == keys.c.tenant_id, key_tags.c.key_id == keys.c.id)
    .exists()
    .label("tagged")
)
_PROVEN = (*KEY, keys.c.mac, _TAGGED)
#: The tenant's newest key, which a new value is sealed under: found along with what is to be changed.
_TENANT_KEY = (
    select(func.max(tenant_keys.c.id))
    .where(tenant_keys.c.tenant_id == keys.c.tenant_id)
    .scalar_subquery()
    .label("tenant_key_id")
)

FIND = select(*_PROVEN, _TENANT_KEY).where(_NAMED)
#: Locks the row where the database has row locks.
FIND_LOCKED = FIND.with_for_update()


def _open(*, current: bool) -> Select[tuple[object, ...]]:
    version = keys.c.current_version if current else bindparam("version_")
    return (
        select(*_PROVEN, *VERSION, key_versions.c.mac, key_versions.c.wrapped_dek, key_versions.c.blob)
        .outerjoin(
            key_versions,
            (key_versions.c.tenant_id == keys.c.tenant_id)
            & (key_versions.c.key_id == keys.c.id)
            & (key_versions.c.version == version),
        )
        .where(_NAMED, _LIVE)
    )


OPEN, OPEN_VERSION = _open(current=True), _open(current=False)

ADD = insert(keys).values(
    {column.name: bindparam(f"{column.name}_") for column in (keys.c.tenant_id, *KEY, keys.c.mac)}
)

_CHANGING = ("current_version", "rev", "note", "created_at", "updated_at", "expires_at", "deleted_at", "mac")
CHANGE = (
    update(keys)
    .where(keys.c.tenant_id == bindparam("tenant_id_"), keys.c.id == bindparam("id_"))
    .values({name: bindparam(f"{name}_") for name in _CHANGING})
)

ADD_VERSION = insert(key_versions).values({column.name: bindparam(f"{column.name}_") for column in key_versions.c})
_VERSIONS_OF = (key_versions.c.tenant_id == bindparam("tenant_")) & (key_versions.c.key_id == bindparam("id_"))
VERSIONS = (
    select(*VERSION, key_versions.c.mac)
    .where(_VERSIONS_OF)
    .order_by(key_versions.c.version.desc())
    .limit(bindparam("limit_"))
)
ONE_VERSION = select(*VERSION, key_versions.c.mac).where(_VERSIONS_OF, key_versions.c.version == bindparam("version_"))
UP_TO = select(*VERSION, key_versions.c.mac).where(
    _VERSIONS_OF, key_versions.c.version <= bindparam("version_"), key_versions.c.destroyed_at.is_(None)
)
DESTROY = (
    update(key_versions)
    .where(_VERSIONS_OF, key_versions.c.version == bindparam("version_"))
    .values(wrapped_dek=null(), blob=null(), destroyed_at=bindparam("now_"), mac=bindparam("mac_"))
)

_TAGS_OF = (key_tags.c.tenant_id == bindparam("tenant_")) & (key_tags.c.key_id == bindparam("id_"))
TAGS = select(key_tags.c.tag, key_tags.c.value).where(_TAGS_OF).order_by(key_tags.c.tag)
DROP_TAGS = delete(key_tags).where(_TAGS_OF)
ADD_TAG = insert(key_tags).values(
    tenant_id=bindparam("tenant_"), key_id=bindparam("id_"), tag=bindparam("tag_"), value=bindparam("value_")
)

EXPIRED_DELETIONS = (
    select(keys.c.tenant_id, *_PROVEN)
    .where(keys.c.deleted_at <= bindparam("before_"))
    .order_by(keys.c.deleted_at)
    .limit(bindparam("limit_"))
)


def _purge(table: str) -> Delete:
    if table == "keys":
        return delete(keys).where(keys.c.tenant_id == bindparam("tenant_"), keys.c.id == bindparam("id_"))
    if table == "key_versions":
        return delete(key_versions).where(_VERSIONS_OF)
    return DROP_TAGS


PURGE = tuple(_purge(table) for table in ("key_tags", "key_versions", "keys"))


def _page(*, with_tag: bool) -> Select[tuple[object, ...]]:
    # One bound on each side: of two lower ones SQLite would take the first, and look at every name up to the second.
    found = select(*KEY).where(
        _IN_NAMESPACE,
        _LIVE,
        keys.c.name >= bindparam("from_"),
        keys.c.name < bindparam("before_"),
        keys.c.name != bindparam("after_"),
    )
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


#: By whether a tag is asked for.
PAGES = {with_tag: _page(with_tag=with_tag) for with_tag in (False, True)}
