"""What is left in a damaged file is found, page by page."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest

from gateway.journal import recovery
from gateway.journal.entry import Entry
from gateway.journal.recovery import Remains
from gateway.journal.store import Store
from tests.unit.journal.samples import entries

PAGE = 4096


def some(count: int) -> list[Entry]:
    return [entry for entry in entries(count) if entry.kind != "level"]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A journal of a few hundred pages."""
    store = Store(tmp_path_factory.mktemp("journal") / "journal")
    written = some(4000)
    for begin in range(0, len(written), 50):
        store.append(written[begin : begin + 50], {"kafka": written[begin].id, "https": 1003})
    store.close()
    return store.file.read_bytes()


def read(file: Path) -> dict[int, Entry]:
    return {entry.id: entry for batch in Remains(file).entries() for entry in batch}


def test_all_is_found_in_a_sound_file(tmp_path: Path, sound: bytes) -> None:
    (tmp_path / "journal").write_bytes(sound)
    assert read(tmp_path / "journal") == {entry.id: entry for entry in some(4000)}


def test_the_log_beside_it_is_read_too(tmp_path: Path) -> None:
    store = Store(tmp_path / "journal")
    written = some(400)
    store.append(written, {"kafka": 77})
    for name in ("journal", "journal-wal"):
        (tmp_path / f"copy-{name}").write_bytes((tmp_path / name).read_bytes())
    store.close()
    found = Remains(tmp_path / "copy-journal")
    found.look()
    assert (found.cursors, found.last_id) == ({"kafka": 77}, written[-1].id)
    assert read(tmp_path / "copy-journal") == {entry.id: entry for entry in written}


def test_each_damaged_page_costs_its_own_rows_only(tmp_path: Path, sound: bytes) -> None:
    random = np.random.default_rng(4)
    written = {entry.id: entry for entry in some(4000)}
    for _ in range(4):
        damaged = bytearray(sound)
        pages = random.choice(np.arange(9, len(sound) // PAGE), 8, replace=False)
        for page in pages:
            damaged[page * PAGE : (page + 1) * PAGE] = random.bytes(PAGE)
        (tmp_path / "journal").write_bytes(damaged)
        found = read(tmp_path / "journal")
        assert found.items() <= written.items()
        assert len(written) - len(found) <= 8 * 45


def test_the_first_pages_are_not_needed(tmp_path: Path, sound: bytes) -> None:
    (tmp_path / "journal").write_bytes(b"\xff" * PAGE + sound[PAGE:])
    assert read(tmp_path / "journal") == {entry.id: entry for entry in some(4000)}
    found = Remains(tmp_path / "journal")
    found.look()
    assert found.last_id == some(4000)[-1].id
    assert found.cursors["https"] == 1003


def test_numbers_outlast_the_names(tmp_path: Path, sound: bytes) -> None:
    at = sound.index(b"lock") // PAGE  # the page of names
    (tmp_path / "journal").write_bytes(sound[: at * PAGE] + b"\0" * PAGE + sound[(at + 1) * PAGE :])
    found = read(tmp_path / "journal")
    assert found.keys() == {entry.id for entry in some(4000)}
    for entry in some(50):
        if entry.kind == "measurement":
            assert found[entry.id].fields["ppm"] == entry.fields["ppm"]
            assert found[entry.id].subject.startswith("lost-")


@pytest.mark.parametrize("length", [0, 1, 99, 4096, 5000, 200_000])
def test_a_file_that_was_cut_gives_what_it_has(tmp_path: Path, sound: bytes, length: int) -> None:
    (tmp_path / "journal").write_bytes(sound[:length])
    found = read(tmp_path / "journal")
    assert found.items() <= {entry.id: entry for entry in some(4000)}.items()
    assert (len(found) > 1000) == (length == 200_000)


def test_noise_gives_nothing_and_does_no_harm(tmp_path: Path, sound: bytes) -> None:
    random = np.random.default_rng(5)
    noise = bytearray(random.bytes(300 * PAGE))
    noise[::PAGE] = b"\x0d" * 300
    (tmp_path / "journal").write_bytes(noise)
    assert read(tmp_path / "journal") == {}
    for _ in range(6):
        damaged = np.frombuffer(sound, np.uint8).copy()
        damaged[random.integers(0, len(damaged), 20_000)] ^= random.integers(1, 256, 20_000).astype(np.uint8)
        (tmp_path / "journal").write_bytes(damaged.tobytes())
        assert all(isinstance(entry.subject, str) for entry in read(tmp_path / "journal").values())


def test_the_newest_damaged_file_is_kept_and_only_one_that_was_read(tmp_path: Path) -> None:
    file = tmp_path / "box[1].journal"
    for when in ("1", "2", "3"):
        file.write_text(when)
        file.with_name(f"{file.name}-wal").write_text("log")
        aside = recovery.set_aside(file, when)
        assert recovery.unread(file) == [aside]
        assert not file.exists()
        kept = recovery.finish(aside, file)
        assert recovery.unread(file) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == [kept.name, f"{kept.name}-wal"]
    assert kept.name == "box[1].journal.damaged-3"
    assert kept.read_text() == "3"


def test_sqlites_own_reader_agrees_about_long_and_odd_rows(tmp_path: Path) -> None:
    """All but rows that are longer than a page."""
    store = Store(tmp_path / "journal")
    bodies = ["", "x" * 100, "ä" * 500, "y" * 3500, "z" * 20_000]
    written = [
        Entry(2**k, (-1) ** k * 2 ** (6 * k), "command", body[:30], {"kind": "command", "time": None, "reason": body})
        for k, body in enumerate(bodies, 2)
    ]
    store.append(written)
    assert store.after(0, 10) == written
    store.close()
    assert list(read(store.file).values()) == written[:-1]
    with sqlite3.connect(store.file) as connection:
        assert connection.execute("PRAGMA page_size").fetchone() == (PAGE,)
    connection.close()
