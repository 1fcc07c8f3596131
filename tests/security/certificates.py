"""Certificates for a server on loopback, good and bad, made with the openssl command."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

_SETTINGS = """
[ca]
default_ca = own
[own]
dir = {folder}
database = {folder}/index
serial = {folder}/serial
new_certs_dir = {folder}
default_md = sha256
policy = any
unique_subject = no
copy_extensions = copy
[any]
commonName = supplied
"""
HERE = "IP:127.0.0.1"


@dataclass(frozen=True, slots=True)
class Certificates:
    """`authority` is what a client may trust; the others are a server's certificate with its key."""

    authority: Path
    good: Path
    expired: Path
    not_yet: Path
    other_host: Path
    self_signed: Path
    unknown: Path


def make(folder: Path) -> Certificates:
    """All of them, below an empty folder."""
    known, unknown = _Authority(folder / "known"), _Authority(folder / "unknown")
    own = folder / "self.pem"
    _openssl(
        folder, f"req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=own -addext subjectAltName={HERE} -out {own}.crt"
        f" -keyout {own}.key"
    )  # fmt: skip
    own.write_bytes(Path(f"{own}.crt").read_bytes() + Path(f"{own}.key").read_bytes())
    return Certificates(
        authority=known.certificate,
        good=known.sign("good"),
        expired=known.sign("expired", begins="200101000000Z", ends="200201000000Z"),
        not_yet=known.sign("not-yet", begins="480101000000Z", ends="490101000000Z"),
        other_host=known.sign("other", host="DNS:api.example.com"),
        self_signed=own,
        unknown=unknown.sign("stranger"),
    )


class _Authority:
    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder, self.certificate = folder, folder / "ca.crt"
        (folder / "index").touch()
        (folder / "serial").write_text("01\n")
        (folder / "settings").write_text(_SETTINGS.format(folder=folder))
        _openssl(
            folder,
            f"req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN={folder.name} -keyout ca.key -out ca.crt"
            " -addext keyUsage=critical,keyCertSign",
        )

    def sign(self, name: str, host: str = HERE, begins: str = "", ends: str = "491231000000Z") -> Path:
        """A server's certificate and key in one file."""
        _openssl(
            self.folder,
            f"req -newkey rsa:2048 -nodes -subj /CN={name} -addext subjectAltName={host} -keyout {name}.key"
            f" -out {name}.csr",
        )
        dates = f"-enddate {ends}" + (f" -startdate {begins}" if begins else "")
        _openssl(
            self.folder,
            f"ca -batch -notext -config settings -cert ca.crt -keyfile ca.key -in {name}.csr -out {name}.crt {dates}",
        )
        both = self.folder / f"{name}.pem"
        both.write_bytes((self.folder / f"{name}.crt").read_bytes() + (self.folder / f"{name}.key").read_bytes())
        return both


def _openssl(folder: Path, words: str) -> None:
    subprocess.run(["openssl", *words.split()], cwd=folder, check=True, capture_output=True)
