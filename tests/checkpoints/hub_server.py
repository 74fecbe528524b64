"""A Hugging Face Hub on this machine, which can be slow, refuse and break off."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha1, sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import unquote

COMMIT = "1" * 40
REPO = "someone/emoji"


@dataclass
class HubServer:
    """The files of one repository, and what is to go wrong.

    `statuses` gives an answer to all requests for a path that contains the key; `cuts` closes the
    connection after so many bytes of a file, as often as there are numbers; `damaged` files get
    another first byte; answers take `delay` seconds.
    """

    files: Mapping[str, bytes]
    statuses: dict[str, int] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    cuts: dict[str, list[int]] = field(default_factory=dict)
    damaged: set[str] = field(default_factory=set)
    delay: float = 0.0
    requests: list[str] = field(default_factory=list)
    address: str = ""

    def requested_files(self) -> list[str]:
        """The names of the files that were sent, in their order."""
        found = (re.fullmatch(r"GET .*/resolve/[^/]+/(.+?)( bytes=.*)?", r) for r in self.requests)
        return [match[1] for match in found if match]


def etag(name: str, data: bytes) -> str:
    """The hub's hash of a file: SHA-256 for large files, git's hash for others."""
    if name.endswith(".safetensors"):
        return sha256(data).hexdigest()
    return sha1(b"blob %d\0" % len(data) + data).hexdigest()


def read_files(folder: Path) -> dict[str, bytes]:
    """All files of a folder by name."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


@contextmanager
def serving(hub: HubServer) -> Iterator[HubServer]:
    """Serve a hub while the block runs."""

    class Handler(_Handler):
        server_hub = hub

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        hub.address = f"http://127.0.0.1:{server.server_port}"
        Thread(target=server.serve_forever, daemon=True).start()
        yield hub
        server.shutdown()


class _Handler(BaseHTTPRequestHandler):
    server_hub: HubServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        hub, path = self.server_hub, self.path.partition("?")[0]
        hub.requests.append(f"{self.command} {path} {self.headers.get('Range', '')}".strip())
        time.sleep(hub.delay)
        for part, status in hub.statuses.items():
            if part in path:
                self._send(b"{}", status, hub.headers)
                return
        if path.startswith(f"/api/models/{REPO}/tree/"):
            self._send(json.dumps([self._entry(name) for name in hub.files]).encode())
        elif path.startswith(f"/api/models/{REPO}"):
            siblings = [{"rfilename": name} for name in hub.files]
            info: dict[str, Any] = {"id": REPO, "sha": COMMIT, "siblings": siblings}
            self._send(json.dumps(info).encode())
        elif path.startswith(f"/{REPO}/resolve/"):
            self._send_file(unquote(path.split("/", 5)[5]))
        else:
            self._send(b"{}", 404, {"X-Error-Code": "RepoNotFound"})

    do_HEAD = do_GET  # noqa: N815 - the name in the base class

    def _entry(self, name: str) -> dict[str, object]:
        data = self.server_hub.files[name]
        return {"type": "file", "path": name, "oid": etag(name, data), "size": len(data)}

    def _send_file(self, name: str) -> None:
        hub = self.server_hub
        if name not in hub.files:
            self._send(b"{}", 404, {"X-Error-Code": "EntryNotFound"})
            return
        data = hub.files[name]
        facts = {"ETag": f'"{etag(name, data)}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if name in hub.damaged:
            data = bytes([data[0] ^ 1]) + data[1:]
        begin = 0
        if asked := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
            begin = int(asked[1])
            facts["Content-Range"] = f"bytes {begin}-{len(data) - 1}/{len(data)}"
        cuts = hub.cuts.get(name) if self.command == "GET" else None
        self._send(data[begin:], 206 if asked else 200, facts, cuts.pop(0) if cuts else None)

    def _send(
        self,
        data: bytes,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        cut: int | None = None,
    ) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data[:cut])
        if cut is not None:
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as in the base class
        """Print nothing."""


NO_SOCKETS = """
import socket, sys
def refuse(*arguments, **settings):
    raise AssertionError("a socket was opened")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
"""


def run_process(
    *argv: str, cache: Path, endpoint: str = "http://127.0.0.1:9", prelude: str = "", **env: str
) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process with a cache and a hub of its own."""
    code = f"{prelude}\nimport sys\nfrom sdcli.cli import main\nsys.exit(main(sys.argv[1:]))"
    variables = {
        **{name: value for name, value in os.environ.items() if not name.startswith("HF_")},
        "PYTHONPATH": os.pathsep.join(sys.path),
        "HF_HUB_CACHE": str(cache),
        "HF_ENDPOINT": endpoint,
        "NO_PROXY": "*",
        **env,
    }
    return subprocess.run(
        [sys.executable, "-c", code, *argv],
        capture_output=True,
        text=True,
        errors="replace",
        env=variables,
    )
