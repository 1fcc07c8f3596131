"""Each bad input gets one clear answer, without blocking; a digest belongs to its stat."""

from __future__ import annotations

import errno
import hashlib
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pipeline.mime import mime_of
from pipeline.tasks.cache import InputCache
from pipeline.tasks.inputs import AT_ONCE, MAX_BYTES, InputFile, Known, Unusable, inspect


def encode(format: str = "PNG", size: tuple[int, int] = (16, 12), mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    Image.new(mode, size, 7).save(file, format)
    return file.getvalue()


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    path.write_bytes(encode())
    return path


@pytest.mark.parametrize(
    ("head", "mime"),
    [
        (b"\x89PNG\r\n\x1a\n....", "image/png"),
        (b"\xff\xd8\xff\xe1........", "image/jpeg"),
        (b"RIFF\x00\x00\x00\x00WEBP", "image/webp"),
        (b"RIFF\x00\x00\x00\x00WAVE", None),
        (b"....\x00\x00\x00\x00WEBP", None),
        (b"\x89PNG\n\x1a\n.....", None),
        (b"\xff\xd8", None),
        (b"GIF89a......", None),
        (b"", None),
    ],
)
def test_the_format_is_told_by_the_first_bytes(head: bytes, mime: str | None) -> None:
    assert mime_of(head) == mime


def test_a_good_file_is_measured_and_hashed(photo: Path) -> None:
    data = photo.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    good = InputFile(str(photo), digest, len(data), photo.stat().st_mtime_ns, "image/png", (16, 12), hashed=True)
    assert inspect(str(photo)) == inspect(str(photo), state=photo.stat()) == good


def test_an_extension_unlike_the_content_is_ignored(tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(encode("JPEG"))
    found = inspect(str(tmp_path / "photo.png"))
    assert isinstance(found, InputFile)
    assert found.mime == "image/jpeg"


def make(path: Path, kind: str) -> None:
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "dangling":
        path.symlink_to(path.with_name("nowhere"))
    elif kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("not an image")
    elif kind == "large":
        path.write_bytes(encode())
        os.truncate(path, MAX_BYTES + 1)


@pytest.mark.timeout(10)
@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("absent", "missing"),
        ("dangling", "missing"),
        ("folder", "not_a_file"),
        ("fifo", "not_a_file"),
        ("loop", "symlink_loop"),
        ("empty", "empty"),
        ("text", "unsupported_format"),
        ("large", "too_large"),
    ],
)
def test_each_bad_file_has_its_code_and_is_named(tmp_path: Path, kind: str, code: str, cached: bool) -> None:
    path = tmp_path / "photo.png"
    make(path, kind)
    with InputCache(tmp_path / "inputs.cache") as cache:
        found = cache.inspect(str(path)) if cached else inspect(str(path))
    assert isinstance(found, Unusable)
    assert found.code == code
    assert str(path) in found.message


@pytest.mark.timeout(10)
def test_a_fifo_that_appears_between_look_and_open_does_not_block(
    tmp_path: Path, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    real = os.stat
    monkeypatch.setattr(os, "stat", lambda path: real(photo))
    found = inspect(str(fifo))
    assert isinstance(found, Unusable)
    assert found.code == "not_a_file"


def test_a_device_is_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "open", lambda *_: pytest.fail("opened"))
    found = inspect("/dev/zero")
    assert isinstance(found, Unusable)
    assert found.code == "not_a_file"


def test_a_file_of_exactly_the_limit_is_taken(tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(encode())
    os.truncate(tmp_path / "photo.png", MAX_BYTES)
    assert isinstance(inspect(str(tmp_path / "photo.png")), InputFile)


def test_a_name_with_nul_is_missing() -> None:
    found = inspect("photo\0.png")
    assert isinstance(found, Unusable)
    assert found.code == "missing"


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO, errno.ESTALE, errno.ENAMETOOLONG])
def test_a_file_that_cannot_be_opened_is_unreadable(photo: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def refuse(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "open", refuse)
    found = inspect(str(photo))
    assert isinstance(found, Unusable)
    assert found.code == "unreadable"
    assert os.strerror(code) in found.message


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_too_many_open_files_is_not_blamed_on_the_file(photo: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def refuse(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(OSError, match=os.strerror(code)):
        inspect(str(photo))


def grow_while_read(monkeypatch: pytest.MonkeyPatch, path: Path, times: int) -> None:
    """More is added to a file after each reading of it, at once or in pieces."""
    left = iter(range(times))

    def growing(real: Callable[..., Any]) -> Callable[..., Any]:
        def read(*given: Any) -> Any:
            found = real(*given)
            if next(left, None) is not None:
                with path.open("ab") as more:
                    more.write(b"more")
            return found

        return read

    monkeypatch.setattr(hashlib, "file_digest", growing(hashlib.file_digest))
    monkeypatch.setattr(hashlib, "sha256", growing(hashlib.sha256))


@pytest.fixture(params=["small", "just read at once", "too large to be read at once", "large"])
def sized(request: pytest.FixtureRequest, photo: Path) -> Path:
    length = {
        "small": 0,
        "just read at once": AT_ONCE,
        "too large to be read at once": AT_ONCE + 1,
        "large": 10 * AT_ONCE,
    }
    os.truncate(photo, max(length[request.param], photo.stat().st_size))
    return photo


def test_a_file_of_any_length_is_hashed_whole(sized: Path) -> None:
    found = inspect(str(sized))
    assert isinstance(found, InputFile)
    assert found.sha256 == hashlib.sha256(sized.read_bytes()).hexdigest()
    assert (found.bytes, found.pixels) == (sized.stat().st_size, (16, 12))


@pytest.mark.parametrize("times", [1, 2])
def test_a_file_that_changes_while_it_is_hashed_is_hashed_again(
    sized: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    with monkeypatch.context() as patched:
        grow_while_read(patched, sized, times)
        found = inspect(str(sized))
    assert isinstance(found, InputFile)
    assert found.sha256 == hashlib.sha256(sized.read_bytes()).hexdigest()
    assert found.bytes == sized.stat().st_size


def test_a_file_that_never_stops_changing_is_unreadable(sized: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grow_while_read(monkeypatch, sized, 99)
    found = inspect(str(sized))
    assert isinstance(found, Unusable)
    assert found.code == "unreadable"


def test_a_file_that_grows_while_it_is_hashed_is_not_followed(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that something appends to faster than it is read would be read for ever."""
    size, read = 3 * AT_ONCE, list[int]()
    os.truncate(photo, size)

    class Growing:
        def __init__(self) -> None:
            os.truncate(photo, MAX_BYTES + 1)

        def update(self, piece: memoryview) -> None:
            read.append(len(piece))

    monkeypatch.setattr(hashlib, "sha256", Growing)
    found = inspect(str(photo))
    assert isinstance(found, Unusable)
    assert (found.code, sum(read)) == ("too_large", size + 1)


def test_a_read_that_brings_less_than_all_is_gone_on_with(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As file systems over a network may do it."""
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, size, at: real(fd, min(size, 40), at))
    found = inspect(str(photo))
    assert isinstance(found, InputFile)
    assert found.sha256 == hashlib.sha256(photo.read_bytes()).hexdigest()


def test_a_file_that_is_replaced_by_a_device_after_its_stat_is_not_read(photo: Path) -> None:
    found = inspect("/dev/zero", state=photo.stat())
    assert isinstance(found, Unusable)
    assert found.code == "not_a_file"


def test_a_new_file_costs_six_system_calls(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each gives the interpreter's lock away, and may wait for it."""
    made: list[str] = []
    for name in ("stat", "open", "fstat", "pread", "close"):
        real = getattr(os, name)

        def counted(*given: Any, name: str = name, real: Callable[..., Any] = real) -> Any:
            made.append(name)
            return real(*given)

        monkeypatch.setattr(os, name, counted)
    with InputCache(None) as cache:
        assert isinstance(cache.inspect(str(photo)), InputFile)
    assert made == ["stat", "open", "fstat", "pread", "fstat", "close"]


def test_a_known_stat_saves_the_hashing(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = photo.stat()
    for name in ("file_digest", "sha256"):
        monkeypatch.setattr(hashlib, name, lambda *_: pytest.fail("hashed"))
    found = inspect(str(photo), known=Known("ab" * 32, state.st_size, state.st_mtime_ns))
    assert isinstance(found, InputFile)
    assert found.sha256 == "ab" * 32


@pytest.mark.parametrize(("more_bytes", "later"), [(1, 0), (0, 1)])
def test_a_differing_stat_means_hashing_again(photo: Path, more_bytes: int, later: int) -> None:
    state = photo.stat()
    found = inspect(str(photo), known=Known("ab" * 32, state.st_size + more_bytes, state.st_mtime_ns + later))
    assert isinstance(found, InputFile)
    assert found.sha256 == hashlib.sha256(photo.read_bytes()).hexdigest()
