"""describe.py ROOT DIRECTORY VERSION: what goes with an image: the update for boxes that run, the list of packages as
CycloneDX, an entry for Raspberry Pi Imager, and the sums of all.

Needs SOURCE_DATE_EPOCH; the same image gives the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from datetime import UTC, datetime
from email.parser import HeaderParser
from pathlib import Path
from typing import Any
from urllib.parse import quote

PIECE = 1 << 20


def paragraphs(text: str) -> Iterator[dict[str, str]]:
    """The paragraphs of a file such as dpkg's status, fields by name."""
    for paragraph in text.split("\n\n"):
        if paragraph.strip():
            yield {name: value.strip() for name, value in HeaderParser().parsestr(paragraph.lstrip("\n")).items()}


def debian(status: str) -> list[dict[str, Any]]:
    """Components of a CycloneDX list from dpkg's status; the source package as a property."""
    found = []
    for fields in paragraphs(status):
        if fields.get("Status") != "install ok installed":
            continue
        name, version = fields["Package"], fields["Version"]
        source, _, source_version = fields.get("Source", name).partition(" ")
        where = f"arch={fields['Architecture']}&distro=trixie"
        purl = f"pkg:deb/debian/{quote(name)}@{quote(version, safe='')}?{where}"
        origin = {"name": "source", "value": f"{source}={source_version.strip('()') or version}"}
        found.append({"type": "library", "name": name, "version": version, "purl": purl, "properties": [origin]})
    return found


def wheels(site: Path) -> list[dict[str, Any]]:
    """Components of a CycloneDX list from the Python packages below `site`."""
    found = []
    for path in sorted(site.glob("*.dist-info/METADATA")):
        fields = HeaderParser().parsestr(path.read_text("utf-8"))
        name, version = fields["Name"], fields["Version"]
        purl = f"pkg:pypi/{quote(name.lower())}@{quote(version, safe='')}"
        found.append({"type": "library", "name": name, "version": version, "purl": purl})
    return found


def bill(components: list[dict[str, Any]], version: str, utc_s: int) -> dict[str, Any]:
    """A list of packages in the form of CycloneDX 1.5."""
    ordered = sorted(components, key=lambda component: str(component["purl"]))
    image = {"type": "operating-system", "name": "spectrophone", "version": version}
    about = {"timestamp": f"{datetime.fromtimestamp(utc_s, UTC):%Y-%m-%dT%H:%M:%SZ}", "component": image}
    return {"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "metadata": about, "components": ordered}


def entry(version: str, utc_s: int, packed: tuple[str, int, str], unpacked: tuple[int, str]) -> dict[str, Any]:
    """What Raspberry Pi Imager reads with --repo: one image; `packed` and `unpacked` are (name,) bytes and SHA-256."""
    name, size, sha256 = packed
    one = {
        "name": f"Spectrophone {version}",
        "description": "A photoacoustic gas analyser. Settings are files on the card's first partition",
        "icon": "",
        "url": name,
        "extract_size": unpacked[0],
        "extract_sha256": unpacked[1],
        "image_download_size": size,
        "image_download_sha256": sha256,
        "release_date": f"{datetime.fromtimestamp(utc_s, UTC):%Y-%m-%d}",
        "init_format": "none",
        "devices": ["pi4-64bit", "pi3-64bit"],
    }
    return {"os_list": [one]}


def manifest(version: str, parts: list[tuple[str, str, int, str]]) -> bytes:
    """An update's first member, which update.py reads; `parts` are member, partition, bytes and SHA-256 unpacked."""
    listed = [{"name": n, "partition": p, "bytes": size, "sha256": digest} for n, p, size, digest in parts]
    return json.dumps({"format": 1, "version": version, "machine": "aarch64", "parts": listed}, indent=1).encode()


def sums(stream: Any) -> tuple[int, str]:
    """Bytes and SHA-256 of what a stream has."""
    size, digest = 0, hashlib.sha256()
    while piece := stream.read(PIECE):
        size += len(piece)
        digest.update(piece)
    return size, digest.hexdigest()


def unpacked(path: Path) -> tuple[int, str]:
    """Bytes and SHA-256 of what is compressed in a file."""
    with subprocess.Popen(["zstd", "-dcq", "--long=27", path], stdout=subprocess.PIPE) as unpack:
        return sums(unpack.stdout)


def of_file(path: Path) -> tuple[int, str]:
    """Bytes and SHA-256 of a file."""
    with path.open("rb") as file:
        return sums(file)


def bundle(path: Path, version: str, parts: dict[str, Path], utc_s: int) -> None:
    """Write an update: a tar with the manifest, then the compressed partitions; `parts` are files by partition."""
    listed = [(file.name, partition, *unpacked(file)) for partition, file in parts.items()]
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        first = tarfile.TarInfo("manifest.json")
        data = manifest(version, listed)
        first.size, first.mtime = len(data), utc_s
        tar.addfile(first, io.BytesIO(data))
        for file in parts.values():
            member = tarfile.TarInfo(file.name)
            member.size, member.mtime = file.stat().st_size, utc_s
            with file.open("rb") as content:
                tar.addfile(member, content)


def main(root: Path, out: Path, version: str) -> None:
    """Write all of it beside the image."""
    utc_s = int(os.environ["SOURCE_DATE_EPOCH"])
    name = f"spectrophone-{version}"
    bundle(out / f"{name}.update", version, {part: out / f"{part}.img.zst" for part in ("boot", "system")}, utc_s)
    (site,) = root.glob("opt/spectrophone/releases/*/lib/python3*/site-packages")
    components = debian((root / "var/lib/dpkg/status").read_text("utf-8")) + wheels(site)
    listed = json.dumps(bill(components, version, utc_s), indent=1)
    (out / f"{name}.cdx.json").write_text(listed + "\n", "utf-8")
    packed = out / f"{name}.img.zst"
    imager = entry(version, utc_s, (packed.name, *of_file(packed)), of_file(out / f"{name}.img"))
    (out / "os_list.json").write_text(json.dumps(imager, indent=1) + "\n", "utf-8")
    others = (path for path in sorted(out.iterdir()) if not path.name.endswith((".img", ".img.zst")))
    lines = [f"{of_file(path)[1]}  {path.name}\n" for path in (*others, packed, packed.with_suffix(""))]
    (out / "SHA256SUMS").write_text("".join(lines), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
