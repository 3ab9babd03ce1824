"""The outbox file, damaged while the daemon is down."""

from __future__ import annotations

import os
import random
import sqlite3
from collections.abc import Callable
from pathlib import Path

from benchmarks.faults.fault import fault
from benchmarks.faults.world import World

ASIDE = ("moved aside to",)
NAME = "outbox.db"


def _damaged(world: World, damage: Callable[[Path], None], times: int = 2) -> None:
    """Kill, damage, start again: the source goes on with the last event that was safe by then."""
    for number in range(1, times + 1):
        world.until_steps(20 * number)
        world.daemon.down()
        damage(world.state / NAME)
        world.mended()
        world.daemon.up()


@fault("outbox overwritten with noise", breaks=True, said=ASIDE)
def _noise(world: World) -> None:
    chance = random.Random(4)

    def overwrite(path: Path) -> None:
        for suffix in ("", "-wal"):
            path.with_name(NAME + suffix).write_bytes(chance.randbytes(40_000))

    _damaged(world, overwrite)


@fault("outbox overwritten with noise, its journal whole", breaks=True)
def _noise_below(world: World) -> None:
    chance = random.Random(4)
    _damaged(world, lambda path: path.write_bytes(chance.randbytes(40_000)))


@fault("outbox cut to half", breaks=True)
def _half(world: World) -> None:
    def cut(path: Path) -> None:
        os.truncate(path, path.stat().st_size // 2)

    _damaged(world, cut)


@fault("outbox with a page of noise in its midst", breaks=True)
def _page(world: World) -> None:
    def scratch(path: Path) -> None:
        pages = path.stat().st_size // 4096
        with path.open("r+b") as file:
            file.seek(4096 * (pages // 2))
            file.write(random.Random(6).randbytes(4096))

    _damaged(world, scratch)


@fault("outbox empty, 0 bytes", breaks=True)
def _empty(world: World) -> None:
    def empty(path: Path) -> None:
        path.with_name(NAME + "-wal").unlink(missing_ok=True)
        path.write_bytes(b"")

    _damaged(world, empty)


@fault("outbox deleted", breaks=True)
def _deleted(world: World) -> None:
    def delete(path: Path) -> None:
        for suffix in ("", "-wal", "-shm"):
            path.with_name(NAME + suffix).unlink(missing_ok=True)

    _damaged(world, delete)


@fault("power cut within a write: half a frame at the journal's end")
def _torn(world: World) -> None:
    def tear(path: Path) -> None:
        with path.with_name(NAME + "-wal").open("ab") as file:
            file.write(random.Random(2).randbytes(2500))

    _damaged(world, tear)


@fault("outbox with a damaged index page, alerts queued", said=("saved|salvag|damaged",))
def _index_page(world: World) -> None:
    world.until_steps(10)
    world.broker.stop()
    world.until_said("(raise|clear) car", times=45)
    world.daemon.down()
    world.safe_frame = world.last_safe_frame()  # afterwards the file tells no more than the daemon can save
    path = world.state / NAME
    with path.open("r+b") as file:
        file.seek(4096 * (_root_of_an_index(path) - 1))
        file.write(random.Random(6).randbytes(4096))
    world.daemon.up()
    world.until_said("connection refused", times=2)
    world.broker.start()
    world.mended()


def _root_of_an_index(path: Path) -> int:
    """Page, from 1, at which an index of the queue begins; the journal is worked into the file before."""
    db = sqlite3.connect(path)
    try:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        wanted = "SELECT rootpage FROM sqlite_master WHERE type = 'index' AND tbl_name = 'messages'"
        (page,) = db.execute(wanted).fetchone()
        return int(page)
    finally:
        db.close()
