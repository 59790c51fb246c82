"""A table that only these tests have, in each kind of database."""

import sqlite3

import asyncpg
import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, bindparam, insert, select

from mesh_server.db.engine import Database
from mesh_server.db.scope import Tenant

notes = Table("notes", MetaData(), Column("id", Integer, primary_key=True), Column("text", String))
ADD = insert(notes).values(id=bindparam("id_"), text=bindparam("text_"))
ALL = select(notes.c.id, notes.c.text).order_by(notes.c.id)
US = Tenant("us")
_CREATE = "CREATE TABLE notes (id BIGINT PRIMARY KEY, text TEXT)"


def add(number, text="x"):
    async def work(tx):
        await tx.execute(ADD, id_=number, text_=text)
        return number

    return work


async def everything(tx):
    return [row[0] for row in await tx.all(ALL)]


async def make_notes(url, cluster=None):
    """Make the table, on PostgreSQL as the owner."""
    if url.startswith("sqlite:///"):
        with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
            connection.execute(_CREATE)
        connection.close()
        return
    owner = await asyncpg.connect(url.replace("//mesh_app:", "//postgres:"))
    await owner.execute(f"{_CREATE}; GRANT ALL ON notes TO mesh_app")
    await owner.close()


@pytest.fixture
async def database(database_url):
    opened = await Database.open(database_url)
    await make_notes(database_url)
    yield opened
    await opened.close()
