"""The input cache saves reading, never vouches for changed bytes, and never fails a run."""

from __future__ import annotations

import hashlib
import io
import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from PIL import Image

from pipeline.tasks import cache as cache_module
from pipeline.tasks import inputs as inputs_module
from pipeline.tasks.cache import InputCache
from pipeline.tasks.inputs import InputFile, Known, Unusable

LATER = 4_000_000_000_000_000_000
"""A wall clock so late that no file of a test is too young to be remembered."""


def encode() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (16, 12), 7).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    path.write_bytes(encode())
    return path


def remember(tmp_path: Path, photo: Path, now_ns: int = LATER) -> InputFile | Unusable:
    with InputCache(tmp_path / "inputs.cache", lambda: now_ns) as cache:
        return cache.inspect(str(photo))


def lasting(found: InputFile | Unusable) -> InputFile:
    """What the cache keeps of a file: all but its pixels, and that it was hashed, which are of its reading."""
    assert isinstance(found, InputFile)
    return replace(found, pixels=None, hashed=False)


def refuse_to_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "inspect", lambda *_, **__: pytest.fail("opened"))


def test_an_unchanged_file_is_not_opened_in_the_next_run(
    tmp_path: Path, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = remember(tmp_path, photo)
    refuse_to_open(monkeypatch)
    assert remember(tmp_path, photo) == lasting(first)


def test_an_unchanged_file_is_not_opened_twice_in_one_run(
    tmp_path: Path, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with InputCache(tmp_path / "inputs.cache", lambda: LATER) as cache:
        first = cache.inspect(str(photo))
        refuse_to_open(monkeypatch)
        assert cache.inspect(str(photo)) == lasting(first)


def test_a_changed_file_with_its_old_length_and_time_is_hashed_again(tmp_path: Path, photo: Path) -> None:
    first = remember(tmp_path, photo)
    state = photo.stat()
    other = bytearray(photo.read_bytes())
    other[-1] ^= 1
    photo.write_bytes(other)
    os.utime(photo, ns=(state.st_atime_ns, state.st_mtime_ns))
    second = remember(tmp_path, photo)
    assert isinstance(first, InputFile)
    assert isinstance(second, InputFile)
    assert second.mtime_ns == first.mtime_ns
    assert second.sha256 == hashlib.sha256(other).hexdigest()


@pytest.mark.parametrize(("age", "remembered"), [(0, False), (1_999_999_999, False), (2_000_000_001, True)])
def test_a_file_younger_than_two_seconds_is_not_remembered(
    tmp_path: Path, photo: Path, age: int, remembered: bool
) -> None:
    state = photo.stat()
    remember(tmp_path, photo, max(state.st_mtime_ns, state.st_ctime_ns) + age)
    with sqlite3.connect(tmp_path / "inputs.cache") as db:
        (count,) = db.execute("SELECT count(*) FROM input2").fetchone()
    db.close()
    assert bool(count) is remembered


@pytest.mark.parametrize("damage", [b"", b"rubbish" * 1000, b"SQLite format 3\0" + b"\xff" * 4000])
def test_a_damaged_cache_is_ignored_and_made_anew(tmp_path: Path, photo: Path, damage: bytes) -> None:
    (tmp_path / "inputs.cache").write_bytes(damage)
    assert isinstance(remember(tmp_path, photo), InputFile)
    assert isinstance(remember(tmp_path, photo), InputFile)


def test_a_cache_damaged_in_its_pages_never_fails_a_run(tmp_path: Path, photo: Path) -> None:
    with InputCache(tmp_path / "inputs.cache", lambda: LATER) as cache:
        for number in range(600):
            copy = tmp_path / f"{number}.png"
            copy.write_bytes(photo.read_bytes())
            cache.inspect(str(copy))
    data = bytearray((tmp_path / "inputs.cache").read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    (tmp_path / "inputs.cache").write_bytes(data)
    assert isinstance(remember(tmp_path, tmp_path / "7.png"), InputFile)
    assert isinstance(remember(tmp_path, tmp_path / "7.png"), InputFile)


def test_a_cache_that_another_shard_locks_never_fails_a_run(tmp_path: Path, photo: Path) -> None:
    remember(tmp_path, photo)
    other = sqlite3.connect(tmp_path / "inputs.cache")
    other.execute("BEGIN EXCLUSIVE")
    assert isinstance(remember(tmp_path, photo), InputFile)
    other.close()


@pytest.mark.parametrize("place", ["no/such/folder/inputs.cache", "taken"])
def test_a_cache_that_cannot_be_written_never_fails_a_run(tmp_path: Path, photo: Path, place: str) -> None:
    (tmp_path / "taken").mkdir()
    with InputCache(tmp_path / place, lambda: LATER) as cache:
        assert isinstance(cache.inspect(str(photo)), InputFile)


def test_a_cache_behind_a_symlink_is_not_used(tmp_path: Path, photo: Path) -> None:
    (tmp_path / "inputs.cache").symlink_to(tmp_path / "elsewhere")
    assert isinstance(remember(tmp_path, photo), InputFile)
    assert not (tmp_path / "elsewhere").exists()


def test_without_a_path_nothing_is_remembered_on_disk(tmp_path: Path, photo: Path) -> None:
    with InputCache(None) as cache:
        assert isinstance(cache.inspect(str(photo)), InputFile)
    assert os.listdir(tmp_path) == ["photo.png"]


def test_names_that_are_not_utf_8_are_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png"))
    path.write_bytes(encode())
    first = remember(tmp_path, path)
    refuse_to_open(monkeypatch)
    assert remember(tmp_path, path) == lasting(first)


def test_threads_share_a_cache(tmp_path: Path, photo: Path) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(1200)]
    for path in paths:
        path.write_bytes(photo.read_bytes())
    with InputCache(tmp_path / "inputs.cache", lambda: LATER) as cache, ThreadPoolExecutor(8) as pool:
        found = list(pool.map(cache.inspect, map(str, paths)))
    assert {file.sha256 for file in found if isinstance(file, InputFile)} == {
        hashlib.sha256(photo.read_bytes()).hexdigest()
    }
    with sqlite3.connect(tmp_path / "inputs.cache") as db:
        assert db.execute("SELECT count(*) FROM input2").fetchone() == (1200,)
    db.close()


@pytest.mark.parametrize(
    "change",
    [
        "sha256 = x'" + "00" * 32 + "'",
        "sha256 = 'text'",
        "sha256 = 7",
        "mime = 'image/jpeg'",
        "mime = x'00'",
        "checksum = 0",
        "checksum = 'text'",
    ],
)
def test_a_row_that_was_damaged_in_the_file_is_not_believed(tmp_path: Path, photo: Path, change: str) -> None:
    """SQLite keeps no checksums: one flipped bit of a digest would be sent under a wrong fingerprint, for ever."""
    first = remember(tmp_path, photo)
    with sqlite3.connect(tmp_path / "inputs.cache") as db:
        assert db.execute(f"UPDATE input2 SET {change}").rowcount == 1
    db.close()
    assert remember(tmp_path, photo) == first


class Counting(sqlite3.Connection):
    """A connection that counts the look-ups that reach it."""

    looks = 0

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        if "WHERE path" in sql:
            Counting.looks += 1
        return super().execute(sql, *parameters)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> type[Counting]:
    real = sqlite3.connect
    monkeypatch.setattr(Counting, "looks", 0)
    monkeypatch.setattr(sqlite3, "connect", lambda *given, **named: real(*given, **named, factory=Counting))
    return Counting


def test_a_cache_that_was_empty_is_not_asked_for_files_that_are_new(
    tmp_path: Path, photo: Path, looks: type[Counting]
) -> None:
    with InputCache(tmp_path / "inputs.cache", lambda: LATER) as cache:
        cache.inspect(str(photo))
        assert cache.known(str(photo), photo.stat()) is not None
        assert cache.known("/another", photo.stat()) is None
    assert looks.looks == 0
    remember(tmp_path, photo)
    assert looks.looks == 1


def test_what_an_empty_cache_saved_in_this_run_is_found_in_it(
    tmp_path: Path, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever else was read since: references are shared by all tasks, and memory holds the newest only."""
    monkeypatch.setattr(cache_module, "_PENDING", 4)
    copies = [tmp_path / f"{number}.png" for number in range(9)]
    with InputCache(tmp_path / "inputs.cache", lambda: LATER) as cache:
        for copy in copies:
            copy.write_bytes(photo.read_bytes())
        first = [lasting(cache.inspect(str(copy))) for copy in copies]
        refuse_to_open(monkeypatch)
        assert [cache.inspect(str(copy)) for copy in copies] == first


def test_what_another_shard_saves_meanwhile_may_be_missed_and_is_right(tmp_path: Path, photo: Path) -> None:
    with InputCache(tmp_path / "inputs.cache", lambda: LATER) as cache:
        first = remember(tmp_path, photo)
        assert cache.inspect(str(photo)) == first
        assert cache.known(str(photo), photo.stat()) is not None


def test_a_digest_that_somebody_else_vouches_for_is_not_remembered(tmp_path: Path, photo: Path) -> None:
    """The ledger knows size and time only: beside the times of change and the inode the digest would be believed."""
    state = photo.stat()
    with InputCache(tmp_path / "inputs.cache", lambda: LATER) as cache:
        found = cache.inspect(str(photo), known=Known("ab" * 32, state.st_size, state.st_mtime_ns))
        assert isinstance(found, InputFile)
        assert found.sha256 == "ab" * 32
        assert cache.known(str(photo), state) is None


def test_a_known_file_of_another_size_is_hashed_and_remembered(tmp_path: Path, photo: Path) -> None:
    with InputCache(tmp_path / "inputs.cache", lambda: LATER) as cache:
        cache.inspect(str(photo), known=Known("ab" * 32, 1, 1))
        assert cache.known(str(photo), photo.stat()) == hashlib.sha256(photo.read_bytes()).hexdigest()


@pytest.mark.parametrize("saved", [False, True])
def test_a_look_afresh_mends_an_entry_that_is_wrong(tmp_path: Path, photo: Path, saved: bool) -> None:
    state, path = photo.stat(), tmp_path / "inputs.cache"
    wrong = cache_module._Entry(inputs_module.stamp(state), b"w" * 32, "image/png")
    with InputCache(path, lambda: LATER) as cache:
        cache._put(str(photo), wrong)
        if saved:
            cache._save()
        assert cache.known(str(photo), state) == (b"w" * 32).hex()
        cache.renew(str(photo))
    with InputCache(path, lambda: LATER) as cache:
        assert cache.known(str(photo), state) == hashlib.sha256(photo.read_bytes()).hexdigest()


def test_a_file_that_is_not_there_for_a_look_afresh_is_missing(tmp_path: Path) -> None:
    with InputCache(None) as cache:
        found = cache.renew(str(tmp_path / "gone.png"))
    assert isinstance(found, Unusable)
    assert found.code == "missing"


def test_the_bytes_of_another_file_are_not_remembered_beside_the_stat_of_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder is swapped between the look at a file and its opening, and later back."""
    for name, more in (("one", b""), ("other", b"more")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes(encode() + more)
    folder, path = tmp_path / "photos", str(tmp_path / "photos" / "a.png")
    folder.symlink_to("one")
    real = inputs_module._open

    def swapped(path: str, flags: int) -> int:
        folder.unlink()
        folder.symlink_to("other")
        return real(path, flags)

    monkeypatch.setattr(inputs_module, "_open", swapped)
    with InputCache(tmp_path / "inputs.cache", lambda: LATER) as cache:
        state = os.stat(path)
        found = cache.inspect(path)
        assert isinstance(found, InputFile)
        assert found.sha256 == hashlib.sha256(encode() + b"more").hexdigest()
        assert cache.known(path, state) is None
