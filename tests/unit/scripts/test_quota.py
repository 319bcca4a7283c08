"""What a script left on the disk: counted, and told when it is too much."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path

import pytest

from gateway.scripts import quota
from gateway.scripts.messages import escaped
from gateway.scripts.quota import Free, Quota, Usage, usage
from tests.support.until import until


def fill(path: Path, size_bytes: int) -> None:
    path.write_bytes(b"x" * size_bytes)


def test_what_was_there_before_does_not_count(tmp_path: Path) -> None:
    fill(tmp_path / "old", 300_000)
    watched = Quota([str(tmp_path)], max_bytes=200_000, max_files=3)
    assert watched.look() is None
    fill(tmp_path / "new", 100_000)
    assert watched.look() is None
    fill(tmp_path / "more", 200_000)
    said = watched.look()
    assert said is not None
    assert said.startswith("disk quota exceeded: 0.3")
    assert said.endswith(f"MB in {tmp_path}, 0.2 MB allowed (max_disk_mb)")
    (tmp_path / "more").unlink()
    assert watched.look() is None


def test_files_and_directories_count(tmp_path: Path) -> None:
    watched = Quota([str(tmp_path)], max_files=3)
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "c").touch()
    assert watched.look() is None
    (tmp_path / "d").symlink_to("/nowhere")
    assert watched.look() == f"disk quota exceeded: more than 3 files in {tmp_path} (max_files)"


def test_a_single_file(tmp_path: Path) -> None:
    file = tmp_path / "log.csv"
    watched = Quota([str(file)], max_bytes=50_000)
    fill(file, 40_000)
    assert watched.look() is None
    fill(file, 60_000)
    assert "disk quota exceeded" in (watched.look() or "")


def test_links_lead_nowhere(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    fill(outside / "large", 500_000)
    (inside / "directory").symlink_to(outside)
    (inside / "file").symlink_to(outside / "large")
    assert usage(str(inside), 10).size_bytes < 100_000


def test_a_hole_counts_with_its_length_and_blocks_without_length_count(tmp_path: Path) -> None:
    with (tmp_path / "hole").open("wb") as file:
        file.truncate(1 << 30)
    assert usage(str(tmp_path), 10).size_bytes >= 1 << 30


def test_counting_ends(tmp_path: Path) -> None:
    for number in range(50):
        (tmp_path / str(number)).touch()
    assert usage(str(tmp_path), 10).files == 11


def test_too_many_files_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quota, "MOST_BEFORE", 2)
    for number in range(3):
        (tmp_path / str(number)).touch()
    with pytest.raises(ValueError, match="holds more than 2 files: give the script a directory of its own"):
        Quota([str(tmp_path)])


@pytest.mark.parametrize("name", ["d" * 250, "\x1b[2J\n\u202e\udcff" + "d" * 230])
def test_directories_too_deep_to_be_listed_are_told_in_one_short_line(name: str, tmp_path: Path) -> None:
    watched = Quota([str(tmp_path)])
    here = os.open(tmp_path, os.O_RDONLY)
    opened = [here]
    for _ in range(20):
        os.mkdir(name, dir_fd=here)
        here = os.open(name, os.O_RDONLY, dir_fd=here)
        opened.append(here)
    for each in opened:
        os.close(each)
    said = watched.look()
    assert said is not None
    assert said.startswith("disk quota cannot be counted")
    assert said.endswith("File name too long")
    assert said == escaped(said, 300)


def test_what_could_not_be_listed_before_is_none_of_the_scripts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [Usage(0, 1, frozenset({"/data/lost+found"}), "Permission denied")]
    monkeypatch.setattr(quota, "usage", lambda path, most: found[0])
    watched = Quota([str(tmp_path)])
    assert watched.look() is None
    found[0] = Usage(0, 1, frozenset({"/data/lost+found", "/data/mine"}), "Permission denied")
    assert watched.look() == "disk quota cannot be counted: /data/mine: Permission denied"


def test_a_disk_that_runs_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = [100 << 20]
    monkeypatch.setattr(quota, "_free", lambda path: Free(free[0], 9))
    watched = Quota([str(tmp_path)])
    free[0] = 70 << 20
    assert watched.look() is None
    free[0] = 60 << 20
    assert watched.look() == f"the disk of {tmp_path} runs full: 62.9 MB free, 67.1 MB must be"


def test_a_full_disk_that_did_not_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quota, "_free", lambda path: Free(1 << 20, 9))
    assert Quota([str(tmp_path)]).look() is None


def test_it_tells_when_it_is_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quota, "GLANCE_S", 0.0001)
    monkeypatch.setattr(quota, "_free", lambda path: Free(1 << 40, 1 << 20))  # as a file system that tells late

    async def main() -> str:
        looks = 0
        watched = Quota([str(tmp_path)], max_bytes=1000)

        def look() -> str | None:
            nonlocal looks
            looks += 1
            return Quota.look(watched)

        monkeypatch.setattr(watched, "look", look)
        told = asyncio.create_task(watched.exceeded())
        await until(lambda: looks > 2)
        assert not told.done()
        fill(tmp_path / "large", 100_000)
        return await asyncio.wait_for(told, 30)

    assert "disk quota exceeded" in asyncio.run(main())


@pytest.mark.parametrize(
    ("size_bytes", "files", "stale"), [(600, 0, False), (601, 0, True), (0, 2, False), (0, 3, True), (-5000, -9, False)]
)
def test_what_was_counted_is_stale_when_more_is_written_than_was_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size_bytes: int, files: int, stale: bool
) -> None:
    free = Free(1 << 40, 1 << 20)
    monkeypatch.setattr(quota, "_free", lambda path: free)
    monkeypatch.setattr(quota, "_size", lambda found: 400 * stat.S_ISREG(found.st_mode))
    watched = Quota([str(tmp_path)], max_bytes=1000, max_files=3)
    (tmp_path / "a").touch()
    assert watched.look() is None
    free = Free(free.size_bytes - size_bytes, free.files - files)
    assert watched.stale() is stale
    assert watched.look() is None
    assert not watched.stale()


def test_a_flood_is_told_after_a_glance_and_not_after_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quota, "GLANCE_S", 0.0001)
    monkeypatch.setattr(quota, "GLANCES", 1 << 60)
    free = Free(1 << 40, 1 << 20)
    monkeypatch.setattr(quota, "_free", lambda path: free)

    async def main() -> str:
        nonlocal free
        watched = Quota([str(tmp_path)], max_bytes=100_000)
        told = asyncio.create_task(watched.exceeded())
        await until(lambda: watched._seen is not watched._free)  # the first count has begun, and nothing was there
        free = Free(free.size_bytes - 200_000, free.files - 1)
        fill(tmp_path / "large", 200_000)
        return await asyncio.wait_for(told, 30)

    assert "disk quota exceeded" in asyncio.run(main())


def test_nobody_goes_on_looking_when_it_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quota, "GLANCE_S", 3600.0)

    async def main() -> None:
        told = asyncio.create_task(Quota([str(tmp_path)]).exceeded())
        await until(lambda: _threads() - before)
        looking = _threads() - before
        told.cancel()
        await until(lambda: not looking & _threads())

    before = _threads()
    asyncio.run(main())


def _threads() -> set[str]:
    return set(os.listdir("/proc/self/task"))
