"""Topics, and names that try to break out of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_cfg.names import is_identifier
from firmware_cfg.topics import ALL_DEVICES, ParsedTopic, Topics

topic_names = st.from_regex(r"[a-z0-9_-]{1,64}", fullmatch=True)


def test_topics_of_a_device() -> None:
    topics = Topics("drone-1")
    assert topics.status == "remoteclip/1/drone-1/status"
    assert topics.counts("boat") == "remoteclip/1/drone-1/counts/boat"
    assert topics.events == "remoteclip/1/drone-1/events"
    assert topics.events_replay == "remoteclip/1/drone-1/events/replay"
    assert topics.events_replayed == "remoteclip/1/drone-1/events/replayed"
    assert topics.evidence_get == "remoteclip/1/drone-1/evidence/get"
    assert topics.evidence("9f00") == "remoteclip/1/drone-1/evidence/9f00"
    assert topics.alert("4f00") == "remoteclip/1/drone-1/alerts/4f00"
    assert topics.health == "remoteclip/1/drone-1/health"
    assert topics.prompts_desired == "remoteclip/1/drone-1/prompts/desired"
    assert topics.prompts_set == "remoteclip/1/drone-1/prompts/set"
    assert topics.prompts_ack == "remoteclip/1/drone-1/prompts/ack"
    assert topics.prompts_state == "remoteclip/1/drone-1/prompts/state"
    assert topics.everything == "remoteclip/1/drone-1/#"
    assert ALL_DEVICES == "remoteclip/1/#"


@given(topic_names, topic_names)
def test_every_topic_is_told_apart_again(device: str, item: str) -> None:
    topics = Topics(device)
    assert Topics.parse(topics.status) == ParsedTopic(device, "status")
    assert Topics.parse(topics.events) == ParsedTopic(device, "events")
    assert Topics.parse(topics.health) == ParsedTopic(device, "health")
    assert Topics.parse(topics.prompts_desired) == ParsedTopic(device, "prompts/desired")
    assert Topics.parse(topics.prompts_set) == ParsedTopic(device, "prompts/set")
    assert Topics.parse(topics.prompts_ack) == ParsedTopic(device, "prompts/ack")
    assert Topics.parse(topics.prompts_state) == ParsedTopic(device, "prompts/state")
    assert Topics.parse(topics.events_replay) == ParsedTopic(device, "events/replay")
    assert Topics.parse(topics.events_replayed) == ParsedTopic(device, "events/replayed")
    assert Topics.parse(topics.evidence_get) == ParsedTopic(device, "evidence/get")
    assert Topics.parse(topics.counts(item)) == ParsedTopic(device, "counts", item)
    assert Topics.parse(topics.alert(item)) == ParsedTopic(device, "alerts", item)
    assert Topics.parse(topics.alert_ack(item)) == ParsedTopic(device, "alerts/ack", item)
    assert Topics.parse(topics.prompts_get) == ParsedTopic(device, "prompts/get")
    assert Topics.parse(topics.prompts_list) == ParsedTopic(device, "prompts/list")
    assert Topics.parse(topics.thumbnail) == ParsedTopic(device, "thumbnail")
    assert Topics.parse(topics.thumbnail_get) == ParsedTopic(device, "thumbnail/get")


def test_evidence_is_named_by_its_hash_and_a_request_for_it_is_no_piece_of_it() -> None:
    topics, sha256 = Topics("drone-1"), "0f" * 32
    assert Topics.parse(topics.evidence(sha256)) == ParsedTopic("drone-1", "evidence", sha256)
    assert Topics.parse(topics.evidence_get) == ParsedTopic("drone-1", "evidence/get")


def test_what_a_device_listens_to_stays_among_its_own_topics() -> None:
    topics = Topics("drone-1")
    assert len(topics.requests) == 7
    assert topics.left_behind == ("remoteclip/1/drone-1/alerts/+", "remoteclip/1/drone-1/counts/+")
    for each in topics.requests:
        parsed = Topics.parse(each.replace("+", "a1"))
        assert parsed is not None
        assert parsed.device == "drone-1"


@pytest.mark.parametrize("name", ["", "+", "#", "a/b", "../x", "a\0", "a\n", "A", "a" * 65])
def test_a_name_cannot_reach_another_topic(name: str) -> None:
    with pytest.raises(ValueError, match="device name"):
        Topics(name)
    with pytest.raises(ValueError, match="prompt name"):
        Topics("drone").counts(name)
    with pytest.raises(ValueError, match="alert name"):
        Topics("drone").alert(name)


@pytest.mark.parametrize(
    "topic",
    [
        "remoteclip/1/drone",
        "remoteclip/1/drone/",
        "remoteclip/1/drone/status/x",
        "remoteclip/1/drone/counts",
        "remoteclip/1/drone/counts/",
        "remoteclip/1/drone/counts/a/b",
        "remoteclip/1/drone/alerts/a/b",
        "remoteclip/1/Drone/status",
        "remoteclip/2/drone/status",
        "other/1/drone/status",
        "remoteclip/1//status",
    ],
)
def test_foreign_topics_are_none_of_ours(topic: str) -> None:
    assert Topics.parse(topic) is None


@given(st.text(max_size=80) | st.text("abc/+#12", max_size=30).map(lambda rest: f"remoteclip/1/{rest}"))
def test_any_topic_is_parsed_without_an_exception(topic: str) -> None:
    parsed = Topics.parse(topic)
    assert parsed is None or is_identifier(parsed.device)
