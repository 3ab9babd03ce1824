"""Who may come in, and what they may do: a file of users with hashed passwords, and who is logged in."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import os
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from console.tries import FREE_TRIES, AccountsError, TooManyTries, Tries
from edge.files import write_atomically
from firmware_cfg.errors import UsageError
from firmware_cfg.messages.base import Name

log = logging.getLogger(__name__)

__all__ = ["FREE_TRIES", "Accounts", "AccountsError", "Role", "Session", "TooManyTries", "User"]

Role = Literal["viewer", "operator"]
ROLES: tuple[Role, ...] = get_args(Role)
LEAST_PASSWORD = 10  # characters (NIST SP 800-63B asks for 8 where a machine chose it)
MOST_PASSWORD = 1024
SESSION_S = 12 * 3600.0
"""A shift: so long after the login the password is asked for again."""
_MOST_SESSIONS = 1000
_COST = {"n": 1 << 14, "r": 8, "p": 5}  # of scrypt: what OWASP's cheat sheet names beside 128 MiB for more


class _Account(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    role: Role
    salt: str
    hash: str
    n: Annotated[int, Field(ge=2, le=1 << 20)]
    r: Annotated[int, Field(ge=1, le=32)]
    p: Annotated[int, Field(ge=1, le=32)]


class _UsersFile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    users: dict[Name, _Account] = {}


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who may come in."""

    name: str
    role: Role

    @property
    def may_act(self) -> bool:
        """Whether this one may do more than look."""
        return self.role == "operator"


@dataclass(frozen=True, slots=True)
class Session:
    """One login. `token` is the cookie's secret, `csrf` what a form has to bring, `expires` a unix time."""

    token: str
    user: User
    csrf: str
    expires: float


class Accounts:
    """The users of the file at `path` (mode 0600), read anew when it changes, and their sessions.

    Who is removed, or gets another role or password, is logged out. For one thread.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self.path = path
        self._clock = clock
        self._sessions: OrderedDict[str, tuple[Session, str]] = OrderedDict()  # with the hash it came in by
        self._tries = Tries(clock)
        self._read_as: tuple[int, int, int] | None = None
        self._users: dict[str, _Account] = {}
        self._told = ""

    @property
    def empty(self) -> bool:
        """Whether nobody can come in yet. Raises AccountsError."""
        return not self._accounts()

    def list(self) -> list[User]:
        """All users by name. Raises AccountsError."""
        return [User(name, account.role) for name, account in sorted(self._accounts().items())]

    def add(self, name: str, role: str, password: str) -> None:
        """Add a user, or give one another role and password. Raises AccountsError, UsageError."""
        if role not in ROLES:
            raise UsageError(f"--role must be one of {', '.join(ROLES)}, got {role!r}")
        if not LEAST_PASSWORD <= len(password) <= MOST_PASSWORD:
            raise UsageError(f"the password must have {LEAST_PASSWORD} to {MOST_PASSWORD} characters")
        salt, digest = _hashed(password)
        account = _Account(role=role, salt=salt, hash=digest, **_COST)
        try:
            self._write(_UsersFile(users={**self._accounts(), name: account}))
        except ValidationError:
            raise UsageError(f"the user's name {name!r} must be 1 to 64 of: a-z 0-9 _ -") from None

    def remove(self, name: str) -> None:
        """Let a user in no more. Raises AccountsError."""
        accounts = dict(self._accounts())
        if accounts.pop(name, None) is None:
            known = ", ".join(accounts) or "none yet"
            raise AccountsError(f"{self.path}: no user {name!r} (there are: {known})")
        self._write(_UsersFile(users=accounts))

    async def login(self, name: str, password: str, address: str) -> Session:
        """A new session. Says of a wrong name what it says of a wrong password, after as long a time.

        Raises:
            TooManyTries: of this name, or from this address. AccountsError: wrong, or no usable file.
        """
        who = (f"name {name[:64]}", f"address {address}")
        self._tries.check(*who)
        self._tries.failed(*who)  # until it is known to be right: many at once are as many tries
        account = self._accounts().get(name)
        right = await asyncio.to_thread(_matches, password[:MOST_PASSWORD], account)
        if account is None or not right:
            raise AccountsError("wrong name or password")
        self._tries.passed(*who)
        now = self._clock()
        session = Session(
            secrets.token_urlsafe(32), User(name, account.role), secrets.token_urlsafe(32), now + SESSION_S
        )
        self._sessions[_digest(session.token)] = session, account.hash
        while len(self._sessions) > _MOST_SESSIONS:
            self._sessions.popitem(last=False)
        return session

    def session(self, token: str) -> Session | None:
        """Whose cookie that is; None when it is nobody's any more."""
        found = self._sessions.get(_digest(token))
        if found is None or not self._usable():
            return None
        session, came_by = found
        account = self._users.get(session.user.name)
        stands = account is not None and (account.role, account.hash) == (session.user.role, came_by)
        if stands and self._clock() < session.expires:
            return session
        self.logout(token)
        return None

    def logout(self, token: str) -> None:
        """End a session."""
        self._sessions.pop(_digest(token), None)

    def _usable(self) -> bool:
        """Reads the file anew where it has changed; where that cannot be, the log says so once."""
        try:
            self._accounts()
        except AccountsError as error:
            if str(error) != self._told:
                self._told = str(error)
                log.error("%s; nobody is let in", error)
            return False
        self._told = ""
        return True

    def _accounts(self) -> dict[str, _Account]:
        try:
            found = self.path.stat()
            stamp = found.st_mtime_ns, found.st_size, found.st_ino
            if stamp != self._read_as:
                if found.st_mode & 0o077:
                    problem = f"{self.path}: others may read it (chmod 600 {self.path})"
                    raise AccountsError(problem)
                self._users = _UsersFile.model_validate_json(self.path.read_bytes()).users
                self._read_as = stamp
        except FileNotFoundError:
            self._users, self._read_as = {}, None
        except OSError as error:
            raise AccountsError(f"{self.path}: cannot be read: {error.strerror}") from error
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"][:3])
            problem = f"{self.path}: no file of users: {where}: {first['msg']}"
            raise AccountsError(f"{problem} (put it aside and add the users again)") from None
        return self._users

    def _write(self, users: _UsersFile) -> None:
        text = json.dumps(users.model_dump(), indent=2) + "\n"
        before = os.umask(0o077)
        try:
            write_atomically(self.path, text.encode())
        except OSError as error:
            raise AccountsError(f"{self.path}: cannot be written: {error.strerror}") from error
        finally:
            os.umask(before)


def _hashed(password: str) -> tuple[str, str]:
    salt = secrets.token_bytes(16)
    return base64.b64encode(salt).decode(), _scrypt(password, salt, **_COST)


def _scrypt(password: str, salt: bytes, n: int, r: int, p: int) -> str:
    memory = 256 * n * r  # twice what the algorithm takes: OpenSSL wants the limit said
    digest = hashlib.scrypt(password.encode(), salt=salt, n=n, r=r, p=p, maxmem=memory, dklen=32)
    return base64.b64encode(digest).decode()


def _matches(password: str, account: _Account | None) -> bool:
    if account is None:
        _scrypt(password, b"nobody of that name", **_COST)  # as long as for a name that there is
        return False
    found = _scrypt(password, base64.b64decode(account.salt), account.n, account.r, account.p)
    return hmac.compare_digest(found, account.hash)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
