"""Put ClickHouse's engine (chdb) behind its HTTP interface, as far as the driver and the contract need it.

The engine is real and so is the driver; only this front between them is ours. It needs chdb and nothing else.
"""

from __future__ import annotations

import re
import sys
import tempfile
import threading
from collections import OrderedDict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

import chdb

OPEN_SESSIONS = 64
NOT_SETTINGS = {"query", "database", "session_id", "query_id", "client_protocol_version", "wait_end_of_query", "role",
                "enable_http_compression", "session_timeout", "session_check", "compress", "decompress"}  # fmt: skip


class Sessions:
    """Handles of the one engine by session id; the temporary tables of a session live in its handle."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.first = chdb.connect(folder)  # keeps the engine
        self.lock = threading.Lock()
        self.open: OrderedDict[str, tuple] = OrderedDict()

    def get(self, session: str) -> tuple:
        with self.lock:
            if session not in self.open:
                self.open[session] = (chdb.connect(self.folder), threading.Lock())
            self.open.move_to_end(session)
            if len(self.open) > OPEN_SESSIONS:
                self.open.popitem(last=False)[1][0].close()
            return self.open[session]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    sessions: Sessions

    def do_GET(self) -> None:
        self.reply(200, b"Ok.\n", {})

    def do_POST(self) -> None:
        told = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
        body = self.body()
        handle, lock = self.sessions.get(told.get("session_id", ""))
        settings = {name: value for name, value in told.items() if name not in NOT_SETTINGS}
        with lock, tempfile.NamedTemporaryFile() as file:
            try:
                for name, value in settings.items():
                    handle.query(f"SET {name} = '{value}'", "TabSeparated")
                if "query" in told:
                    file.write(body)
                    file.flush()
                    sql = re.sub(r"\s+FORMAT\s+(\w+)\s*$", rf" FROM INFILE '{file.name}' FORMAT \1", told["query"])
                else:
                    sql = body.decode()
                found = handle.query(sql, "TabSeparated").bytes() or b""
            except RuntimeError as error:
                code = re.search(r"Code: (\d+)", str(error))
                self.reply(500, str(error).encode(), {"X-ClickHouse-Exception-Code": code[1] if code else "1"})
                return
        kind = re.search(r"FORMAT\s+(\w+)\s*$", sql)
        self.reply(200, found, {"X-ClickHouse-Format": kind[1] if kind else "TabSeparated"} if found else {})

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def reply(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    Handler.sessions = Sessions(sys.argv[1])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    print(server.server_port, flush=True)  # noqa: T201 - told to who started it
    threading.Thread(target=lambda: (sys.stdin.read(), server.shutdown()), daemon=True).start()
    server.serve_forever()
