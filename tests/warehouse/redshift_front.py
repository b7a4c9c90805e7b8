"""Put PostgreSQL behind what Redshift's driver says, as far as the contract needs it.

The driver is real and so is the SQL engine. Between them this front takes out of start-up what PostgreSQL does not
know, and out of statements the few words that only Redshift has; COPY of Parquet becomes an INSERT of the file's
columns by position. What it cannot show: Redshift's own COPY, its SUPER and its isolation.
"""

from __future__ import annotations

import io
import re
import socket
import socketserver
import struct
import threading
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vision_batch.store import Store
from vision_batch.store.files import FileStore

#: What of Redshift a database of PostgreSQL has to be taught.
TEACHING = """
CREATE DOMAIN super AS jsonb;
CREATE FUNCTION json_parse(text) RETURNS super LANGUAGE sql IMMUTABLE AS 'SELECT $1::jsonb::super';
CREATE FUNCTION json_text(super) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT $1::jsonb::text';
"""
#: As in PostgreSQL 8.0, of which Redshift is made.
OPTIONS = {"standard_conforming_strings": "off", "escape_string_warning": "off", "backslash_quote": "on"}
KEYS = re.compile(r" (?:DISTKEY|SORTKEY) \([^)]*\)| DISTSTYLE ALL")
COPY = re.compile(r"COPY (\w+) FROM '([^']+)' IAM_ROLE (?:default|'[^']+') FORMAT AS PARQUET")
SSL_REQUEST = 80877103


def for_postgres(sql: str, store: Store) -> str:
    """Translate one statement.

    :param store: holds what is copied.
    """
    if found := COPY.fullmatch(sql):
        return inserted(found[1], pq.read_table(io.BytesIO(store.read(found[2]))))
    sql = sql.replace("JSON_SERIALIZE(", "json_text(")
    return KEYS.sub("", sql) if sql.startswith("CREATE ") else sql


def inserted(name: str, rows: pa.Table) -> str:
    values = ", ".join(f"({', '.join(map(value, row.values()))})" for row in rows.to_pylist())
    return f"INSERT INTO {name} VALUES {values}" if values else f"INSERT INTO {name} SELECT * FROM {name}"


def value(found: Any) -> str:
    if found is None:
        return "NULL"
    if isinstance(found, str):
        return "'" + found.replace("\\", "\\\\").replace("'", "''") + "'"
    return f"'{found!r}'::float8" if isinstance(found, float) else str(found)


class Front(socketserver.ThreadingTCPServer):
    """Listen for Redshift's driver.

    :param statements: what it said, before translation.
    :param store: where COPY finds its files.
    """

    daemon_threads = True
    request_queue_size = 50

    def __init__(self, postgres_socket: str) -> None:
        super().__init__(("127.0.0.1", 0), Connection)
        self.postgres_socket = postgres_socket
        self.statements: list[str] = []
        self.store: Store = FileStore()
        self.port = self.server_address[1]


class Connection(socketserver.BaseRequestHandler):
    server: Front

    def handle(self) -> None:
        client, read = self.request.makefile("wb"), reader(self.request)
        with socket.socket(socket.AF_UNIX) as postgres:
            postgres.connect(self.server.postgres_socket)
            length, code = struct.unpack("!II", read(8))
            if code == SSL_REQUEST:
                return
            postgres.sendall(startup(read(length - 8)))
            back = threading.Thread(target=pump, args=(postgres, client), daemon=True)
            back.start()
            try:
                while True:
                    self.forward(read, postgres)
            except EOFError:
                postgres.shutdown(socket.SHUT_WR)
            back.join()

    def forward(self, read: Callable[[int], bytes], postgres: socket.socket) -> None:
        kind, length = struct.unpack("!cI", read(5))
        body = read(length - 4)
        if kind == b"P":
            name, sql, rest = body.split(b"\0", 2)
            self.server.statements.append(sql.decode())
            body = b"\0".join([name, for_postgres(sql.decode(), self.server.store).encode(), rest])
        postgres.sendall(kind + struct.pack("!I", len(body) + 4) + body)


def startup(body: bytes) -> bytes:
    words = body.split(b"\0")
    told = {name: said for name, said in zip(words[::2], words[1::2], strict=False) if name in (b"user", b"database")}
    told |= {name.encode(): said.encode() for name, said in OPTIONS.items()}
    packed = b"".join(name + b"\0" + said + b"\0" for name, said in told.items()) + b"\0"
    return struct.pack("!II", len(packed) + 8, 196608) + packed


def reader(connection: socket.socket) -> Callable[[int], bytes]:
    file = connection.makefile("rb")

    def read(size: int) -> bytes:
        found = file.read(size)
        if len(found) < size:
            raise EOFError
        return found

    return read


def pump(source: socket.socket, target: Any) -> None:
    """Hand on what the server says, until one of the two ends hangs up."""
    try:
        while said := source.recv(1 << 16):
            target.write(said)
            target.flush()
    except OSError:
        return
