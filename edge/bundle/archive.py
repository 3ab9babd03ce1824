"""A bundle as one file: a plain tar archive, whose bytes depend on nothing but the bundle.

Plain tar only. Nothing in it is compressed, so that no small archive fills a disk and its bytes are the same
wherever it is packed; every tar program opens it, and half-precision weights would hardly shrink.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import IO

from edge.bundle.load import DEFAULT, Bundle
from edge.bundle.manifest import MANIFEST_NAME, SIGNATURE_NAME
from edge.files import sync_folder
from firmware_cfg.errors import BundleError, EngineError

SUFFIX = ".tar"
MOST_FILES = 64
MOST_BYTES = 4 << 30  # more than twice what a bundle of ViT-L-14 takes

_CHUNK = 1 << 20
_SPARE_BYTES = 1 << 20  # that stay free for what else is written meanwhile
_BLOCK = tarfile.BLOCKSIZE
_COPY_AGAIN = "copy the archive again"
_MOST_HEADERS = 4 * MOST_FILES
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_PLAIN_FILE = (tarfile.REGTYPE, tarfile.AREGTYPE)
# Times and owners to the nanosecond, as some tar programs write them. What they say is not read.
_EXTENSIONS = (tarfile.XHDTYPE, tarfile.XGLTYPE)


def pack(bundle: Bundle, archive: Path) -> None:
    """Write a loaded bundle as an archive, atomically; the same bundle gives the same bytes.

    Raises:
        OSError: the place cannot be written, or the disk is full; an older archive there is then untouched.
    """
    names = [MANIFEST_NAME, *sorted(bundle.manifest.files)]
    if bundle.voucher.signature is not None:
        names.insert(1, SIGNATURE_NAME)
    made = int(bundle.manifest.created_at.timestamp())
    temporary = archive.with_name(f".{archive.name}.{secrets.token_hex(6)}.tmp")
    try:
        with (
            temporary.open("xb") as stream,
            tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar,
        ):
            for name in names:
                with bundle.file(name).open("rb") as source:
                    member = tarfile.TarInfo(f"bundle-{bundle.manifest_sha256[:12]}/{name}")
                    member.size, member.mtime, member.mode = os.fstat(source.fileno()).st_size, made, 0o644
                    tar.addfile(member, source)
            tar.close()  # writes the end; only then is there something to keep
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, archive)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def unpack(archive: Path, folder: Path) -> None:
    """Unpack an archive into `folder`, which must not exist yet; it appears whole or not at all.

    Only plain files are taken, with names that a bundle's files may have, all of them at the top or all in
    one folder. What they hold is for `load_bundle` to judge.

    Raises:
        BundleError: the archive is damaged, or holds anything else: links, devices, other folders, names that
            lead elsewhere, the same name twice, or too much; it names the member. Or `folder` exists already,
            or cannot be written.
    """
    with _appearing(archive, folder, "unpacked") as partial:
        _unpack_members(archive, partial)


def copy(source: Path, folder: Path) -> None:
    """Copy a bundle's folder to `folder`, which must not exist yet; it appears whole or not at all.

    Only plain files are taken, and no more than an archive may hold; `load_bundle` judges the rest.

    Raises:
        BundleError: the source cannot be read or holds anything else, or `folder` exists already or cannot be
            written.
    """
    with _appearing(source, folder, "copied") as partial:
        paths = sorted(source.iterdir())
        if len(paths) > MOST_FILES:
            raise BundleError(f"{source}: holds more than {MOST_FILES} files, no bundle does")
        for path in paths:
            # Asked before it is opened: to open a pipe would be to wait for whoever writes to it.
            if not path.is_file():
                raise BundleError(f"{path}: is no plain file, and a bundle is a flat folder of them")
            with path.open("rb") as stream, (partial / path.name).open("xb") as target:
                shutil.copyfileobj(stream, target, _CHUNK)
                target.flush()
                os.fsync(target.fileno())


def expect_room(path: Path, folder: Path) -> None:
    """Raise BundleError where an archive, or a bundle's folder, does not fit on the disk of `folder`."""
    try:
        files = list(path.iterdir()) if path.is_dir() else [path]
        needed = sum(file.stat().st_size for file in files) + _SPARE_BYTES
    except OSError as error:
        raise BundleError(f"{path}: cannot be read: {error.strerror}") from error
    if needed > (free := shutil.disk_usage(folder).free):
        sizes = f"needs {needed / 2**20:.0f} MiB, {free / 2**20:.0f} MiB are free at {folder}"
        raise BundleError(f"{path}: {sizes} (make room on the disk)")


@contextmanager
def _appearing(source: Path, folder: Path, done: str) -> Iterator[Path]:
    """A folder to fill, which becomes `folder` at the end, or vanishes."""
    if folder.exists() or folder.is_symlink():
        raise BundleError(f"{folder}: exists already (choose another place)")
    try:
        partial = Path(mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            yield partial
            partial.chmod(0o755)
            sync_folder(partial)
            os.rename(partial, folder)
            sync_folder(folder.parent)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
    except OSError as error:
        raise BundleError(f"{source}: cannot be {done} to {folder}: {error.strerror or error}") from error


@contextmanager
def bundle_folder(path: str | Path) -> Iterator[str | Path]:
    """What `load_bundle` takes, for a bundle that may also be an archive: that is unpacked until the end.

    Raises BundleError, EngineError; one from inside names the archive where it would name its passing folder.
    """
    if path == DEFAULT or not Path(path).is_file():
        yield path
        return
    try:
        place = TemporaryDirectory(prefix="remoteclip-")
    except OSError as error:
        mend = "set TMPDIR to a folder with room"
        raise BundleError(f"{path}: nowhere to unpack it: {error.strerror or error} ({mend})") from error
    with place:
        folder = Path(place.name, "bundle")
        unpack(Path(path), folder)
        try:
            yield folder
        except (BundleError, EngineError) as error:
            raise type(error)(str(error).replace(str(folder), str(path))) from error


def _unpack_members(archive: Path, folder: Path) -> None:
    size = archive.stat().st_size
    if size > MOST_BYTES:
        raise BundleError(
            f"{archive}: has {size} bytes, a bundle has at most {MOST_BYTES} (choose another file)"
        )
    top: str | None = None
    taken = 0
    with archive.open("rb") as stream:
        for header in _headers(archive, stream):
            if header.type in _EXTENSIONS:
                _copy(archive, header, stream, None)
                continue
            folder_name, _, name = header.name.removeprefix("./").rpartition("/")
            if header.type == tarfile.DIRTYPE and not folder_name:
                continue  # the one folder around the files, which is not made
            plain = header.type in _PLAIN_FILE and _NAME.fullmatch(name)
            # "/x" has an empty folder name, too, but is no name at the top.
            inside = _NAME.fullmatch(folder_name) or header.name in (name, f"./{name}")
            if not (plain and inside and top in (None, folder_name)):
                raise BundleError(f"{archive}: {_refused(header)} (pack the bundle again)")
            top, taken = folder_name, taken + 1
            if taken > MOST_FILES:
                raise BundleError(f"{archive}: holds more than {MOST_FILES} files, no bundle does")
            try:
                target = (folder / name).open("xb")
            except FileExistsError as error:
                raise BundleError(f"{archive}: holds {name} twice (pack the bundle again)") from error
            with target:
                _copy(archive, header, stream, target)
                target.flush()
                os.fsync(target.fileno())


def _headers(archive: Path, stream: IO[bytes]) -> Iterator[tarfile.TarInfo]:
    """The header of every member; whoever takes one reads its data, too, before the next."""
    for _ in range(_MOST_HEADERS):
        block = stream.read(_BLOCK)
        if not any(block) and len(block) == _BLOCK:
            _expect_zeros(archive, stream)
            return
        try:
            # One block, one header. The rest of tarfile also follows extensions that no bundle needs.
            yield tarfile.TarInfo.frombuf(block, "ascii", "surrogateescape")
        except tarfile.HeaderError as error:
            where = stream.tell() - len(block)
            problem = f"no tar archive, or damaged at byte {where}" if where else "no tar archive"
            raise BundleError(f"{archive}: {problem} ({_COPY_AGAIN})") from error
    raise BundleError(f"{archive}: holds more than {_MOST_HEADERS} entries, no bundle does")


def _expect_zeros(archive: Path, stream: IO[bytes]) -> None:
    rest = 0
    while chunk := stream.read(_CHUNK):
        if any(chunk):
            raise BundleError(f"{archive}: goes on after its end, or is damaged ({_COPY_AGAIN})")
        rest += len(chunk)
    if rest < _BLOCK:
        raise BundleError(f"{archive}: breaks off at its end ({_COPY_AGAIN})")


def _copy(archive: Path, header: tarfile.TarInfo, stream: IO[bytes], target: IO[bytes] | None) -> None:
    """Read a member's data and what fills its last block; write the data to `target`."""
    padded = -(-header.size // _BLOCK) * _BLOCK
    if not 0 <= header.size <= MOST_BYTES:
        raise BundleError(f"{archive}: {header.name!r} claims {header.size} bytes ({_COPY_AGAIN})")
    read = 0
    while read < padded:
        chunk = stream.read(min(_CHUNK, padded - read))
        if not chunk:
            raise BundleError(f"{archive}: breaks off inside {header.name!r} ({_COPY_AGAIN})")
        if target is not None:
            target.write(chunk[: max(0, header.size - read)])
        read += len(chunk)


def _refused(header: tarfile.TarInfo) -> str:
    if header.issym() or header.islnk():
        return f"{header.name!r} is a link, and a bundle has none"
    if header.isdev():
        return f"{header.name!r} is a device, and a bundle has none"
    if header.type not in _PLAIN_FILE:
        return f"{header.name!r} is no plain file"
    return f"{header.name!r} is not the name of a bundle's file, or not beside the others"
