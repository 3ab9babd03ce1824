"""Who may come in, and what happens to who tries passwords."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console import accounts as module
from console.accounts import Accounts, Session
from console.tries import FREE_TRIES, LONGEST_WAIT_S, AccountsError, TooManyTries
from firmware_cfg.errors import UsageError

PASSWORD = "correct horse battery"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hash is as dear as it should be: in a test, not that dear."""
    monkeypatch.setitem(module._COST, "n", 16)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def accounts(tmp_path: Path, clock: Clock) -> Accounts:
    accounts = Accounts(tmp_path / "users.json", clock=clock)
    accounts.add("ann", "operator", PASSWORD)
    return accounts


def login(accounts: Accounts, name: str = "ann", password: str = PASSWORD, address: str = "::1") -> str:
    return asyncio.run(accounts.login(name, password, address)).token


def test_who_knows_the_password_comes_in_and_out_again(accounts: Accounts) -> None:
    token = login(accounts)
    session = accounts.session(token)
    assert session is not None
    assert (session.user.name, session.user.role, session.user.may_act) == ("ann", "operator", True)
    assert session.csrf not in ("", token)
    accounts.logout(token)
    assert accounts.session(token) is None


@pytest.mark.parametrize(("name", "password"), [("ann", "wrong"), ("bob", PASSWORD), ("", ""), ("ann", "")])
def test_a_wrong_name_and_a_wrong_password_are_told_the_same(
    accounts: Accounts, name: str, password: str
) -> None:
    with pytest.raises(AccountsError, match=r"^wrong name or password$"):
        login(accounts, name, password)


def test_no_password_is_in_the_file_and_nobody_else_may_read_it(accounts: Accounts) -> None:
    assert accounts.path.stat().st_mode & 0o077 == 0
    text = accounts.path.read_text()
    assert PASSWORD not in text
    accounts.add("eve", "viewer", PASSWORD)
    users = json.loads(accounts.path.read_text())["users"]
    assert users["ann"]["hash"] != users["eve"]["hash"]


def test_a_session_ends_with_its_shift(accounts: Accounts, clock: Clock) -> None:
    token = login(accounts)
    clock.now += module.SESSION_S + 1
    assert accounts.session(token) is None


def test_who_is_removed_or_given_another_role_is_out(accounts: Accounts) -> None:
    other = Accounts(accounts.path)  # as the command that is run meanwhile
    token = login(accounts)
    other.add("ann", "viewer", PASSWORD)
    assert accounts.session(token) is None
    token = login(accounts)
    other.remove("ann")
    assert accounts.session(token) is None
    assert accounts.empty


def test_guessing_is_slowed_down_by_name_and_by_address(accounts: Accounts, clock: Clock) -> None:
    for number in range(FREE_TRIES):
        with pytest.raises(AccountsError, match="wrong"):
            login(accounts, password="wrong", address=f"10.0.0.{number}")
    with pytest.raises(TooManyTries, match="wait 1 s"):
        login(accounts)  # the right one is not looked at either
    clock.now += 1.1
    login(accounts)
    for number in range(FREE_TRIES):
        with pytest.raises(AccountsError, match="wrong"):
            login(accounts, name=f"guess-{number}", address="10.0.0.9")
    with pytest.raises(TooManyTries):
        login(accounts, address="10.0.0.9")


def test_many_guesses_at_once_are_as_many_guesses(accounts: Accounts) -> None:
    async def guess_at_once() -> list[Session | BaseException]:
        guesses = (accounts.login("ann", f"guess {number}", "10.0.0.9") for number in range(50))
        return await asyncio.gather(*guesses, return_exceptions=True)

    answers = asyncio.run(guess_at_once())
    looked_at = [each for each in answers if not isinstance(each, TooManyTries)]
    assert [str(each) for each in looked_at] == ["wrong name or password"] * FREE_TRIES


def test_the_wait_doubles_up_to_its_bound(accounts: Accounts, clock: Clock) -> None:
    waits = []
    for _ in range(16):
        with pytest.raises(AccountsError) as caught:
            login(accounts, password="wrong")
        if isinstance(caught.value, TooManyTries):
            waits.append(caught.value.wait_s)
            clock.now += caught.value.wait_s
    assert waits[:3] == pytest.approx([1, 2, 4])
    assert max(waits) <= LONGEST_WAIT_S


@pytest.mark.parametrize(
    ("name", "role", "password"), [("Ann B", "viewer", PASSWORD), ("a" * 65, "viewer", PASSWORD)]
)
def test_a_name_that_cannot_be_one_is_refused(
    accounts: Accounts, name: str, role: str, password: str
) -> None:
    with pytest.raises(UsageError, match="1 to 64 of"):
        accounts.add(name, role, password)


def test_a_short_password_and_an_unknown_role_are_refused(accounts: Accounts) -> None:
    with pytest.raises(UsageError, match="10 to 1024"):
        accounts.add("bob", "viewer", "short")
    with pytest.raises(UsageError, match="viewer, operator"):
        accounts.add("bob", "admin", PASSWORD)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"users": {"ann": {}}}', '{"users": {"Ann": 1}}', '{"x": 1}']
)
def test_a_damaged_file_lets_nobody_in_and_says_so(
    accounts: Accounts, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    token = login(accounts)
    accounts.path.write_text(text)
    accounts.path.chmod(0o600)
    for _ in range(3):
        assert accounts.session(token) is None
    assert caplog.text.count("users.json: no file of users") == 1
    with pytest.raises(AccountsError, match=r"users\.json"):
        login(accounts)


def test_a_file_that_others_may_read_is_refused(accounts: Accounts, tmp_path: Path) -> None:
    accounts.path.chmod(0o644)
    with pytest.raises(AccountsError, match="chmod 600"):
        Accounts(accounts.path).list()


@given(st.text(max_size=30))
def test_a_token_that_was_made_up_is_nobody(token: str) -> None:
    assert Accounts(Path("/nowhere/users.json")).session(token) is None
