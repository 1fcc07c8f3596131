"""TLS is verified: who cannot show a certificate of a trusted authority gets nothing."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.command import Finished, installed
from tests.e2e.command import finished as run_to_end
from tests.e2e.forked import Forked
from tests.e2e.proxy import tunnelling
from tests.e2e.servers import hostile, stage_of, tls_of
from tests.e2e.stage import Stage
from tests.security.certificates import Certificates
from tests.security.trying import in_vain

BAD = {
    "self_signed": "self-signed certificate",
    "expired": "certificate has expired",
    "not_yet": "certificate is not yet valid",
    "other_host": "IP address mismatch",
    "unknown": "unable to get local issuer certificate",
}


def stage_for(tmp_path: Path, url: str, authority: Path | None) -> Stage:
    """A job of one task."""
    return stage_of(tmp_path, url, ["paint"], endpoint={"ca_bundle": str(authority)} if authority else {})


@pytest.mark.parametrize("fault", BAD)
def test_a_certificate_that_proves_nothing_gets_nothing(
    fault: str, retouch: Forked, certificates: Certificates, tmp_path: Path
) -> None:
    """Unsent, code `tls`, with the reason in words; not a byte of the request arrives, and nothing has failed."""
    with hostile(tls_of(getattr(certificates, fault))) as server:
        stage = stage_for(tmp_path, server.url, certificates.authority)
        done = in_vain(stage, lambda: retouch.run(stage))
    run = done.json
    assert (run["tasks"]["pending"], server.requests) == (1, [])
    lines = [line for line in stage.ledger() if line["type"] == "settled"]
    assert {(line["outcome"], line["code"]) for line in lines} == {("unsent", "tls")}
    assert BAD[fault] in lines[0]["message"]
    assert BAD[fault] in done.stderr


def test_without_a_bundle_our_own_authority_is_a_stranger(
    retouch: Forked, certificates: Certificates, tmp_path: Path
) -> None:
    """The system's authorities are trusted and no other; with `ca_bundle` the very same server is."""
    with hostile(tls_of(certificates.good)) as server:
        stage = stage_for(tmp_path / "a", server.url, None)
        in_vain(stage, lambda: retouch.run(stage))
        assert server.requests == []
        retouch.run(stage_for(tmp_path / "b", server.url, certificates.authority)).ended(0)
    assert len(server.requests) == 1


def test_a_bundle_replaces_the_systems_authorities(retouch: Forked, certificates: Certificates, tmp_path: Path) -> None:
    """Whoever names a bundle means that one alone: SSL_CERT_FILE and SSL_CERT_DIR add nothing to it."""
    with hostile(tls_of(certificates.unknown)) as server:
        stranger = certificates.unknown.parent / "ca.crt"
        stage = stage_for(tmp_path, server.url, certificates.authority)
        in_vain(stage, lambda: retouch.run(stage, environ={"SSL_CERT_FILE": str(stranger)}))
    assert server.requests == []


def command(stage: Stage, **environ: str) -> Finished:
    """The command as a process of its own, for what is read when modules are imported."""
    names = " ".join(f"{name}={value}" for name, value in environ.items())
    shell = ["sh", "-c", f'{names} exec "$@"', "sh", str(installed()), "run", str(stage.manifest), "--json"]
    return run_to_end(shell, stage.folder, stage.home)


def test_authorities_of_the_environment_are_the_systems(certificates: Certificates, tmp_path: Path) -> None:
    """SSL_CERT_FILE names the system's authorities to OpenSSL, as a company's machines are set up."""
    with hostile(tls_of(certificates.good)) as server:
        stage = stage_for(tmp_path / "job", server.url, None)
        command(stage, SSL_CERT_FILE=str(certificates.authority)).ended(0)
        missing = stage_for(tmp_path / "missing", server.url, None)
        in_vain(missing, lambda: command(missing, SSL_CERT_FILE="/no/such/file"))
    assert len(server.requests) == 1


def test_the_secrets_of_a_tls_session_are_written_nowhere(certificates: Certificates, tmp_path: Path) -> None:
    """SSLKEYLOGFILE is ignored; where it names a place that cannot be written, that ended the command as a bug."""
    with hostile(tls_of(certificates.good)) as server:
        for number, log in enumerate([str(tmp_path / "keys.log"), "/no/such/folder/keys.log"]):
            stage = stage_for(tmp_path / str(number), server.url, certificates.authority)
            command(stage, SSLKEYLOGFILE=log).ended(0)
    assert not (tmp_path / "keys.log").exists()


@pytest.mark.parametrize("content", ["", "not a certificate\n", "-----BEGIN CERTIFICATE-----\nAAAA\n"])
def test_a_bundle_that_holds_no_certificate_is_named(content: str, retouch: Forked, tmp_path: Path) -> None:
    """Exit 2, before anything is sent or made."""
    bundle = tmp_path / "bundle.pem"
    bundle.write_text(content)
    stage = stage_for(tmp_path / "job", "https://127.0.0.1:9/v1", bundle)
    done = retouch.run(stage)
    assert done.code == 2
    assert f"endpoint.ca_bundle: cannot use {bundle}" in done.stderr
    assert not stage.out.exists()


@contextmanager
def talking(words: bytes) -> Iterator[str]:
    """A port that says the same to everyone, whatever is asked; its https:// URL."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    opened = listener.accept()[0]
                except OSError:
                    return
                with opened:
                    opened.sendall(words)

        threading.Thread(target=serve, daemon=True).start()
        yield f"https://127.0.0.1:{listener.getsockname()[1]}/v1"
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("words", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", b"\x15\x03\x03\x00\x02\x02\x28"])
def test_a_server_that_speaks_no_tls_gets_nothing(words: bytes, retouch: Forked, tmp_path: Path) -> None:
    """Plain HTTP on the TLS port, a connection that is closed, an alert: unsent, each."""
    with talking(words) as url:
        stage = stage_for(tmp_path, url, None)
        in_vain(stage, lambda: retouch.run(stage))
    assert {line["outcome"] for line in stage.ledger() if line["type"] == "settled"} == {"unsent"}


def test_tls_is_verified_through_a_proxy_too(retouch: Forked, certificates: Certificates, tmp_path: Path) -> None:
    """The proxy tunnels and sees no key; behind it the endpoint's own certificate counts."""
    with hostile(tls_of(certificates.good)) as server, tunnelling() as proxy:
        stage = stage_for(tmp_path / "good", server.url, certificates.authority)
        stage.job["endpoint"]["proxy"] = proxy.url
        retouch.run(stage.write()).ended(0)
        assert len(server.requests) == 1
        [seen] = proxy.heads
        assert seen.startswith(b"CONNECT 127.0.0.1:")
        assert b"uthorization" not in seen
    with hostile(tls_of(certificates.unknown)) as server, tunnelling() as proxy:
        stage = stage_for(tmp_path / "bad", server.url, certificates.authority)
        stage.job["endpoint"]["proxy"] = proxy.url
        in_vain(stage, lambda: retouch.run(stage))
        assert server.requests == []
    assert {line["code"] for line in stage.ledger() if line["type"] == "settled"} == {"tls"}
