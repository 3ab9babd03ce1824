"""A bundle's archive: the same bytes every time, and nothing but a bundle's files ever comes out of one."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.bundle import archive as archive_module
from edge.bundle.archive import bundle_folder, pack, unpack
from edge.bundle.load import Bundle, load_bundle
from firmware_cfg.errors import BundleError

QUICK = settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def tar_of(*members: tuple[str, bytes | None, dict[str, Any]], form: int = tarfile.USTAR_FORMAT) -> bytes:
    """A tar archive of (name, data, further TarInfo attributes)."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=form) as tar:
        for name, content, attributes in members:
            member = tarfile.TarInfo(name)
            member.size = len(content or b"")
            for key, value in attributes.items():
                setattr(member, key, value)
            tar.addfile(member, io.BytesIO(content or b""))
    return data.getvalue()


def refused(folder: Path, data: bytes) -> str:
    """What `unpack` says about it. Nothing is left behind, inside or beside the folder."""
    place = folder / "place"
    place.mkdir(exist_ok=True)
    archive = folder / "bundle.tar"
    archive.write_bytes(data)
    before = sorted(folder.rglob("*"))
    with pytest.raises(BundleError) as caught:
        unpack(archive, place / "out")
    assert sorted(folder.rglob("*")) == before
    assert str(caught.value).startswith(f"{archive}: ")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_packing_and_unpacking_gives_the_same_bundle(tiny_bundle: Bundle, tmp_path: Path) -> None:
    pack(tiny_bundle, tmp_path / "tiny.tar")
    unpack(tmp_path / "tiny.tar", tmp_path / "out")
    assert contents(tmp_path / "out") == contents(tiny_bundle.path)
    assert load_bundle(tmp_path / "out").manifest_sha256 == tiny_bundle.manifest_sha256
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o755
    assert {path.name for path in tmp_path.iterdir()} == {"tiny.tar", "out"}


def test_the_same_bundle_gives_the_same_bytes_wherever_and_whenever(
    tiny_bundle: Bundle, tmp_path: Path
) -> None:
    pack(tiny_bundle, tmp_path / "one.tar")
    copy = shutil.copytree(tiny_bundle.path, tmp_path / "copy")
    for file in copy.iterdir():
        file.chmod(0o600)
    pack(load_bundle(copy), tmp_path / "other.tar")
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "other.tar").read_bytes()
    with tarfile.open(tmp_path / "one.tar") as tar:
        members = tar.getmembers()
    assert {member.name.split("/")[0] for member in members} == {f"bundle-{tiny_bundle.manifest_sha256[:12]}"}
    assert {(member.uid, member.uname, member.mode, member.type) for member in members} == {
        (0, "", 0o644, tarfile.REGTYPE)
    }


@pytest.mark.parametrize("arguments", [["bundle"], ["-C", "bundle", "."], ["--format=pax", "bundle"]])
def test_an_archive_that_was_packed_by_hand_will_do(
    bundle_copy: Path, tmp_path: Path, arguments: list[str]
) -> None:
    if (tar := shutil.which("tar")) is None:
        pytest.skip("tar is not installed")
    subprocess.run([tar, "-cf", "hand.tar", *arguments], cwd=tmp_path, check=True)
    unpack(tmp_path / "hand.tar", tmp_path / "out")
    assert contents(tmp_path / "out") == contents(bundle_copy)


@pytest.mark.parametrize(
    "name",
    [
        "../manifest.json",
        "/manifest.json",
        "/etc/passwd",
        "bundle/../../manifest.json",
        "a/b/manifest.json",
        "./../manifest.json",
        "..",
        ".",
        ".hidden",
        "a/.hidden",
        "back\\slash",
        "tab\tname",
        "neu\u00e9",
    ],
)
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, name: str) -> None:
    message = refused(tmp_path, tar_of((name, b"x", {}), form=tarfile.GNU_FORMAT))
    assert "is not the name of a bundle's file" in message


@pytest.mark.parametrize(
    ("attributes", "problem"),
    [
        ({"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}, "'card.md' is a link, and a bundle has none"),
        ({"type": tarfile.LNKTYPE, "linkname": "manifest.json"}, "is a link"),
        ({"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3}, "is a device"),
        ({"type": tarfile.BLKTYPE}, "is a device"),
        ({"type": tarfile.FIFOTYPE}, "is a device"),
        ({"type": tarfile.CONTTYPE}, "is no plain file"),
        ({"type": tarfile.GNUTYPE_SPARSE}, "is no plain file"),
        ({"type": b"Z"}, "is no plain file"),
    ],
)
def test_anything_but_a_plain_file_is_refused(
    tmp_path: Path, attributes: dict[str, Any], problem: str
) -> None:
    assert problem in refused(tmp_path, tar_of(("manifest.json", b"{}", {}), ("card.md", None, attributes)))


def test_folders_in_folders_and_files_of_two_folders_are_refused(tmp_path: Path) -> None:
    folder = {"type": tarfile.DIRTYPE}
    assert "'a/b' is no plain file" in refused(tmp_path, tar_of(("a", None, folder), ("a/b", None, folder)))
    assert "not beside the others" in refused(tmp_path, tar_of(("a/x", b"1", {}), ("b/y", b"2", {})))
    assert "not beside the others" in refused(tmp_path, tar_of(("x", b"1", {}), ("b/y", b"2", {})))


def test_the_same_name_twice_is_refused(tmp_path: Path) -> None:
    assert "holds x twice" in refused(tmp_path, tar_of(("x", b"1", {}), ("./x", b"2", {})))


def test_too_much_is_refused_before_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many = tar_of(*((f"f{number}", b"", {}) for number in range(65)))
    assert "holds more than 64 files" in refused(tmp_path, many)
    endless = tar_of(*(("d", None, {"type": tarfile.DIRTYPE}) for _ in range(300)))
    assert "entries, no bundle does" in refused(tmp_path, endless)
    monkeypatch.setattr(archive_module, "MOST_BYTES", 20_000)
    assert "claims 20001 bytes" in refused(tmp_path, lying_size(20_001))
    assert "a bundle has at most 20000" in refused(tmp_path, tar_of(("x", b"1" * 20_001, {})))


def lying_size(size: int) -> bytes:
    member = tarfile.TarInfo("x")
    member.size = size
    return member.tobuf(tarfile.GNU_FORMAT) + b"\0" * 1024


@pytest.mark.parametrize("size", [1 << 62, -1, -(1 << 40)])
def test_a_size_that_cannot_be_is_refused(tmp_path: Path, size: int) -> None:
    assert f"'x' claims {size} bytes" in refused(tmp_path, lying_size(size))


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "no tar archive"),
        (b"PK\3\4" + b"x" * 2000, "no tar archive"),
        (b"\0" * 600, "breaks off at its end"),
        (tar_of(("x", b"1" * 600, {}))[:1000], "breaks off inside 'x'"),
        (tar_of(("x", b"1" * 600, {}))[:1536], "damaged at byte 1536"),
        (tar_of(("x", b"1" * 600, {}))[:1700], "damaged at byte 1536"),
        (tar_of(("x", b"1" * 600, {}))[:2048], "breaks off at its end"),
        (tar_of(("x", b"1", {})) + b"more", "goes on after its end"),
    ],
)
def test_what_is_no_whole_archive_says_so(tmp_path: Path, data: bytes, problem: str) -> None:
    assert problem in refused(tmp_path, data)


def test_a_place_that_is_taken_or_missing_is_named(tiny_bundle: Bundle, tmp_path: Path) -> None:
    pack(tiny_bundle, tmp_path / "tiny.tar")
    (tmp_path / "taken").mkdir()
    with pytest.raises(BundleError, match=r"taken: exists already"):
        unpack(tmp_path / "tiny.tar", tmp_path / "taken")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(BundleError, match=r"dangling: exists already"):
        unpack(tmp_path / "tiny.tar", tmp_path / "dangling")
    with pytest.raises(BundleError, match=r"tiny\.tar: cannot be unpacked to .*: No such file"):
        unpack(tmp_path / "tiny.tar", tmp_path / "nowhere" / "out")
    with pytest.raises(BundleError, match=r"gone\.tar: cannot be unpacked to .*: No such file"):
        unpack(tmp_path / "gone.tar", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_full_disk_leaves_nothing_half_unpacked_or_half_packed(
    tiny_bundle: Bundle, tmp_path: Path, full_disk: Callable[[int], AbstractContextManager[None]]
) -> None:
    pack(tiny_bundle, tmp_path / "tiny.tar")
    with full_disk(6000):
        with pytest.raises(BundleError, match=r"tiny\.tar: cannot be unpacked to .*out: File too large$"):
            unpack(tmp_path / "tiny.tar", tmp_path / "out")
        with pytest.raises(OSError, match="File too large"):
            pack(tiny_bundle, tmp_path / "second.tar")
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.tar"]


def test_a_bundle_is_read_from_its_archive_and_problems_name_the_archive(
    tiny_bundle: Bundle, tmp_path: Path
) -> None:
    archive = tmp_path / "tiny.tar"
    pack(tiny_bundle, archive)
    with bundle_folder(archive) as folder:
        assert load_bundle(folder).manifest_sha256 == tiny_bundle.manifest_sha256
    assert not Path(folder).exists()
    data = archive.read_bytes()
    archive.write_bytes(data.replace(b"A bundle for tests.", b"A bumble for tests."))
    with (
        pytest.raises(BundleError, match=rf"^{archive}/card\.md: SHA-256 is"),
        bundle_folder(archive) as folder,
    ):
        load_bundle(folder)
    with bundle_folder(tiny_bundle.path) as folder:
        assert folder == tiny_bundle.path
    with bundle_folder("default") as folder:
        assert folder == "default"


def test_without_a_place_to_unpack_to_an_archive_cannot_be_read(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack(tiny_bundle, tmp_path / "tiny.tar")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    with (
        pytest.raises(BundleError, match=r"tiny\.tar: nowhere to unpack it: .*\(set TMPDIR to a folder"),
        bundle_folder(tmp_path / "tiny.tar"),
    ):
        pass


NAMES = st.sampled_from(["manifest.json", "a/x", "../x", "/x", "x", "a", "./x", "b/../c"]) | st.text(
    max_size=12
)
TYPES = st.sampled_from([bytes([number]) for number in range(128)]) | st.just(tarfile.REGTYPE)
SMALL = tar_of(("bundle/a", b"1" * 700, {}), ("bundle/b", b"", {}), ("bundle/c", b"2" * 512, {}))


def unpack_or_refuse(folder: Path, data: bytes) -> dict[str, bytes] | None:
    """The files that came out, or None; whatever happens, only in their folder, as plain files."""
    place = folder / "place"
    place.mkdir(exist_ok=True)
    archive = folder / "any.tar"
    archive.write_bytes(data)
    try:
        unpack(archive, place / "out")
        found: dict[str, bytes] | None = contents(place / "out")
        assert all(path.is_file() and not path.is_symlink() for path in (place / "out").iterdir())
        shutil.rmtree(place / "out")
    except BundleError:
        found = None
    assert list(place.iterdir()) == []
    assert {path.name for path in folder.iterdir()} == {"place", "any.tar"}
    return found


@QUICK
@given(st.binary(max_size=3000))
def test_no_bytes_crash_the_reader(tmp_path: Path, data: bytes) -> None:
    assert unpack_or_refuse(tmp_path, data) is None


@QUICK
@given(st.lists(st.tuples(NAMES, st.binary(max_size=600), TYPES), max_size=4), st.sampled_from([0, 1, 2]))
def test_no_member_gets_out(tmp_path: Path, members: list[tuple[str, bytes, bytes]], form: int) -> None:
    data = tar_of(
        *((name, content, {"type": kind, "linkname": "../x"}) for name, content, kind in members), form=form
    )
    found = unpack_or_refuse(tmp_path, data)
    if found is not None:
        given_data = [content for _, content, _ in members]
        assert all(content in given_data for content in found.values())


@QUICK
@given(st.integers(0, len(SMALL) - 1), st.integers(0, 7))
def test_a_flipped_bit_is_refused_or_changes_no_more_than_one_file(
    tmp_path: Path, place: int, bit: int
) -> None:
    data = bytearray(SMALL)
    data[place] ^= 1 << bit
    whole = {"a": b"1" * 700, "b": b"", "c": b"2" * 512}
    found = unpack_or_refuse(tmp_path, bytes(data))
    if found is not None:
        assert found.keys() == whole.keys()
        assert sum(found[name] != whole[name] for name in whole) <= 1


@QUICK
@given(st.integers(0, len(SMALL) - 1))
def test_an_archive_that_was_cut_short_is_whole_or_refused(tmp_path: Path, length: int) -> None:
    found = unpack_or_refuse(tmp_path, SMALL[:length])
    assert found in (None, {"a": b"1" * 700, "b": b"", "c": b"2" * 512})
