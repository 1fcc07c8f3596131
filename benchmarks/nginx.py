"""The system's nginx as an endpoint that answers every edit with the same file, after it has read the whole request.

A static file answers no POST, and what nginx answers early (`return`, an error page) it answers before the request
was read. `mirror` makes it read the body first, into memory, and hands it to a location that throws it away;
then the file refuses the POST with 405, and `error_page` turns that into 200 with the same file, sent by `sendfile`.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

_CONFIGURATION = """\
daemon off;
worker_processes 1;
{user}
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 2048; }}
http {{
    access_log off;
    default_type application/json;
    types {{ }}
    sendfile on;
    sendfile_max_chunk 0;
    tcp_nopush on;
    open_file_cache max=4 inactive=1h;
    open_file_cache_valid 1h;
    keepalive_timeout 1h;
    keepalive_requests 1000000000;
    client_max_body_size 0;
    client_body_buffer_size {buffer};
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location = /v1/images/edits {{
            mirror /read;
            alias {folder}/answer.json;
            error_page 405 =200 /answer;
        }}
        location = /answer {{ internal; alias {folder}/answer.json; }}
        location = /read {{ internal; return 204; }}
    }}
}}
"""


def write_configuration(folder: Path, answer: bytes, largest: int) -> tuple[Path, int]:
    """The path of a configuration below `folder`, and its port; `largest` is the longest request in bytes."""
    (folder / "answer.json").write_bytes(answer)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # As root, nginx would become somebody who may not look into the folder.
    user = "" if os.geteuid() else f"user {pwd.getpwuid(0).pw_name};"
    path = folder / "nginx.conf"
    path.write_text(_CONFIGURATION.format(folder=folder, port=port, user=user, buffer=max(largest, 16384)))
    return path, port


@contextmanager
def nginx(answer: bytes, largest: int) -> Iterator[str]:
    """The base URL of an nginx with `answer`, while the block lasts."""
    with TemporaryDirectory(prefix="retouch-nginx-") as name:
        folder = Path(name)
        configuration, port = write_configuration(folder, answer, largest)
        command = [found("nginx"), "-p", name, "-e", f"{name}/error.log", "-c", str(configuration)]
        with subprocess.Popen(command) as server:
            try:
                _wait(server, port, folder / "error.log")
                yield f"http://127.0.0.1:{port}/v1"
            finally:
                server.terminate()


def found(program: str) -> str:
    """The path of a program of the system. Raises MissingError."""
    path = shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")
    if path is None:
        raise MissingError(f"this benchmark needs {program} from the system's packages: apt install {program}")
    return path


class MissingError(Exception):
    """A program that a benchmark needs is not installed."""


def _wait(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    for _ in range(500):
        if server.poll() is not None:
            break
        with socket.socket() as trial:
            if trial.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)
    raise RuntimeError(f"nginx did not start: {log.read_text()}")
