"""The order behind a refused message; tests/system/test_mqtt_trouble.py has a broker that refuses."""

from __future__ import annotations

from edge.mqtt.refused import Refused
from edge.outbox.messages import QueuedMessage


def event(number: int, alert: str) -> QueuedMessage:
    payload = f'{{"alert_id":"{alert}"}}'.encode()
    return QueuedMessage(number, "events", payload, 1, False, "alert", f"e{number}", 0.0)


def test_other_alerts_pass_and_the_next_try_is_one_message_for_each() -> None:
    refused = Refused(retry_time=0.0)
    refused.add(event(5, "a"))
    assert [refused.may_go(event(6, alert)) for alert in "ab"] == [False, True]
    assert refused.due()
    assert not refused.due()
    assert refused.back_to() == 5
    assert [refused.may_go(event(number, "a")) for number in (5, 6, 5)] == [True, False, True]
    assert not refused.taken(event(6, "a"))  # it was in flight before 5 was refused
    assert refused.taken(event(5, "a"))
    assert refused.wait() == 0.0
    assert refused.back_to() == 5
    assert refused.back_to() is refused.wait() is None
    assert refused.may_go(event(6, "a"))


def test_where_the_refused_one_was_shed_the_next_of_its_alert_is_tried() -> None:
    refused = Refused(retry_time=0.0)
    refused.add(event(5, "a"))
    assert refused.due()
    assert [refused.may_go(event(number, "a")) for number in (7, 8)] == [True, False]
    refused.add(event(7, "a"))
    assert not refused.may_go(event(7, "a"))
    assert refused.due()
    assert refused.may_go(event(7, "a"))
    assert refused.taken(event(7, "a"))
    assert refused.may_go(event(8, "a"))


def test_messages_whose_order_does_not_matter_are_tried_again_but_hold_up_nothing() -> None:
    refused = Refused(retry_time=0.0)
    refused.add(QueuedMessage(3, "elsewhere", b"", 1, False, "update", None, 0.0))
    assert refused.may_go(QueuedMessage(4, "elsewhere", b"", 1, False, "update", None, 0.0))
    assert refused.due()
    assert refused.back_to() == 3
