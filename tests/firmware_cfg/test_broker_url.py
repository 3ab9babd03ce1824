"""Broker addresses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_cfg.broker_url import BrokerUrl, parse_broker_url


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("mqtt://127.0.0.1:1883", BrokerUrl("127.0.0.1", 1883, False)),
        ("mqtt://Broker.Example.org", BrokerUrl("broker.example.org", 1883, False)),
        ("mqtts://broker.example.org/", BrokerUrl("broker.example.org", 8883, True)),
        ("mqtt://[::1]:1884", BrokerUrl("::1", 1884, False)),
    ],
)
def test_addresses(text: str, url: BrokerUrl) -> None:
    assert parse_broker_url(text) == url
    assert parse_broker_url(str(url)) == url


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "be mqtt://HOST:PORT"),
        ("127.0.0.1:1883", "be mqtt://HOST:PORT"),
        ("tcp://127.0.0.1:1883", "be mqtt://HOST:PORT"),
        ("mqtt://", "be mqtt://HOST:PORT"),
        ("mqtt://host:99999", "be mqtt://HOST:PORT"),
        ("mqtt://host:secret", "be mqtt://HOST:PORT"),
        ("mqtt://[::1", "be mqtt://HOST:PORT"),
        ("mqtt://a b", "be mqtt://HOST:PORT"),
        (f"mqtt://{'a' * 70}.org", "be mqtt://HOST:PORT"),
        ("mqtt://host:0", "between 1 and 65535"),
        ("mqtt://host/topic", "end after the port"),
        ("mqtt://host?x=1", "end after the port"),
        ("mqtt://user:secret@host", "user name or password"),
    ],
)
def test_what_is_no_address(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem) as caught:
        parse_broker_url(text)
    assert "secret" not in str(caught.value)


@given(st.text(max_size=40).map(lambda rest: f"mqtt://{rest}") | st.text(max_size=20))
def test_any_text_is_an_address_or_a_value_error(text: str) -> None:
    try:
        url = parse_broker_url(text)
    except ValueError:
        return
    assert 1 <= url.port <= 65535
    assert url.host
