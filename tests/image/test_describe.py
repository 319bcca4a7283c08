"""What goes with an image: its packages, its entry for Raspberry Pi Imager, its sums, its update."""

import hashlib
import io
import json
import subprocess
import tarfile

import pytest

from tests.image.box import describe, update

STATUS = """\
Package: libc6
Status: install ok installed
Architecture: arm64
Source: glibc (2.41-12)
Version: 2.41-12+deb13u1
Description: GNU C Library
 with a second line

Package: gone
Status: deinstall ok config-files
Architecture: arm64
Version: 1

Package: base-files
Status: install ok installed
Architecture: arm64
Version: 13:1~2
"""


def test_debians_packages_have_their_source():
    libc, base = describe.debian(STATUS)
    assert libc["purl"] == "pkg:deb/debian/libc6@2.41-12%2Bdeb13u1?arch=arm64&distro=trixie"
    assert libc["properties"] == [{"name": "source", "value": "glibc=2.41-12"}]
    assert base["purl"].startswith("pkg:deb/debian/base-files@13%3A1~2?")
    assert base["properties"] == [{"name": "source", "value": "base-files=13:1~2"}]


def test_pythons_packages_are_listed(tmp_path):
    (tmp_path / "numpy-2.0.dist-info").mkdir()
    (tmp_path / "numpy-2.0.dist-info/METADATA").write_text(
        "Metadata-Version: 2.1\nName: NumPy\nVersion: 2.0\n\nText: no field\n"
    )
    (found,) = describe.wheels(tmp_path)
    assert found == {"type": "library", "name": "NumPy", "version": "2.0", "purl": "pkg:pypi/numpy@2.0"}


def test_the_list_is_the_same_in_any_order():
    components = describe.debian(STATUS)
    assert describe.bill(components, "1", 0) == describe.bill(components[::-1], "1", 0)
    assert describe.bill(components, "1", 0)["metadata"]["timestamp"] == "1970-01-01T00:00:00Z"


@pytest.fixture
def out(tmp_path, monkeypatch):
    """The directory of an image of version 1, all of it described."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1790000000")
    root, out = tmp_path / "root", tmp_path / "out"
    site = root / "opt/spectrophone/releases/x/lib/python3.13/site-packages/numpy-2.0.dist-info"
    for directory in (site, root / "var/lib/dpkg", out):
        directory.mkdir(parents=True)
    (site / "METADATA").write_text("Name: numpy\nVersion: 2.0\n")
    (root / "var/lib/dpkg/status").write_text(STATUS)
    for name in ("boot.img", "system.img", "spectrophone-1.img"):
        (out / name).write_bytes(name.encode() * 1000)
        subprocess.run(["zstd", "-q", out / name, "-o", out / f"{name}.zst"], check=True)
    describe.main(root, out, "1")
    return out


def test_raspberry_pi_imager_gets_sizes_and_sums(out):
    (entry,) = json.loads((out / "os_list.json").read_text())["os_list"]
    packed, unpacked = (out / "spectrophone-1.img.zst").read_bytes(), (out / "spectrophone-1.img").read_bytes()
    assert entry["url"] == "spectrophone-1.img.zst"
    assert (entry["image_download_size"], entry["extract_size"]) == (len(packed), len(unpacked))
    assert entry["image_download_sha256"] == hashlib.sha256(packed).hexdigest()
    assert entry["extract_sha256"] == hashlib.sha256(unpacked).hexdigest()
    assert entry["release_date"] == "2026-09-21"


def test_the_sums_are_those_that_sha256sum_finds(out):
    names = [line.split("  ")[1] for line in (out / "SHA256SUMS").read_text().splitlines()]
    ours = ["cdx.json", "img", "img.zst", "update"]
    assert sorted(names) == sorted(["os_list.json", *(f"spectrophone-1.{end}" for end in ours)])
    subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=out, check=True)


def test_an_update_is_what_a_box_takes(out, tmp_path, monkeypatch):
    for partition in ("boot_b", "system_b"):
        (tmp_path / partition).write_bytes(b"x" * 20000)
    monkeypatch.setattr(update, "LABELS", tmp_path)
    monkeypatch.setattr(update.subprocess, "run", lambda command, **how: None)  # blockdev, which wants a device
    with tarfile.open(out / "spectrophone-1.update", "r|") as tar:
        assert update.install(tar, "aarch64", "b") == "1"
    for name in ("boot", "system"):
        assert (tmp_path / f"{name}_b").read_bytes().startswith(f"{name}.img".encode() * 1000 + b"xx")


def refused(path, tmp_path, monkeypatch, machine="aarch64", room=20000):
    for partition in ("boot_b", "system_b"):
        (tmp_path / partition).write_bytes(b"x" * room)
    monkeypatch.setattr(update, "LABELS", tmp_path)
    monkeypatch.setattr(update.subprocess, "run", lambda command, **how: None)
    with tarfile.open(path, "r|") as tar, pytest.raises(update.Refused) as refusal:
        update.install(tar, machine, "b")
    return str(refusal.value)


def test_an_update_for_another_machine_is_refused(out, tmp_path, monkeypatch):
    assert "for aarch64, and this box is x86_64" in refused(
        out / "spectrophone-1.update", tmp_path, monkeypatch, "x86_64"
    )


def test_a_partition_that_is_too_small_is_refused(out, tmp_path, monkeypatch):
    assert "boot_b has 100 bytes, and the update needs 8000" in refused(
        out / "spectrophone-1.update", tmp_path, monkeypatch, room=100
    )


def members(path):
    with tarfile.open(path) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}


def packed(path, content):
    with tarfile.open(path, "w") as tar:
        for name, data in content.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda content: {**content, "system.img.zst": content["boot.img.zst"]},
            "system_b is not what manifest.json says",
        ),
        (
            lambda content: {**content, "boot.img.zst": content["boot.img.zst"][:-9]},
            "boot_b is not what manifest.json says",
        ),
        (lambda content: {**content, "boot.img.zst": b"no archive"}, "boot_b is not what manifest.json says"),
        (
            lambda content: {n: d for n, d in content.items() if n != "system.img.zst"},
            "the file ends before system.img.zst",
        ),
        (lambda content: {"boot.img.zst": content["boot.img.zst"]}, "does not begin with manifest.json"),
        (lambda content: {**content, "manifest.json": b"{}"}, "manifest.json is not one of an update"),
        (
            lambda content: {
                **content,
                "manifest.json": content["manifest.json"].replace(b'"format": 1', b'"format": 2'),
            },
            "has format 2, and this box knows 1",
        ),
        (
            lambda content: {**content, "manifest.json": content["manifest.json"].replace(b'"system"', b'"data"')},
            "does not name one boot and one system partition",
        ),
    ],
)
def test_an_update_that_is_not_whole_is_refused(out, tmp_path, monkeypatch, change, says):
    path = packed(tmp_path / "changed.update", change(members(out / "spectrophone-1.update")))
    assert says in refused(path, tmp_path, monkeypatch)


def test_the_same_image_gives_the_same_update(out, tmp_path):
    parts = {part: out / f"{part}.img.zst" for part in ("boot", "system")}
    describe.bundle(tmp_path / "again.update", "1", parts, 1790000000)
    assert (tmp_path / "again.update").read_bytes() == (out / "spectrophone-1.update").read_bytes()
