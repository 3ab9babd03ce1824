"""Device files."""

from __future__ import annotations

from pathlib import Path

import pytest

from firmware_cfg.device import load_device
from firmware_cfg.errors import ConfigErrors
from firmware_cfg.prompt_list import load_prompt_list

SMALLEST_DEVICE = "device: drone-1\nsource: {uri: demo}\n"


@pytest.fixture
def device_path(tmp_path: Path) -> Path:
    return tmp_path / "device.yaml"


def device_errors(path: Path, text: str) -> list[str]:
    path.write_text(text)
    with pytest.raises(ConfigErrors) as caught:
        load_device(path)
    return [line.removeprefix(str(path)) for line in str(caught.value).splitlines()]


def test_only_device_and_source_are_required(
    device_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    device_path.write_text(SMALLEST_DEVICE)
    device = load_device(device_path)
    assert (device.device, device.source.uri) == ("drone-1", "demo")
    assert (device.source.sequence, device.source.realtime, device.source.drop) == (False, False, "auto")
    assert device.bundle == "default"
    assert load_prompt_list(device.prompts).model.prompts
    assert (device.engine.name, device.engine.precision) == ("openvino", "auto")
    assert (device.engine.threads, device.engine.image_size) == (None, None)
    assert (device.mqtt.url, device.mqtt.keepalive) == ("mqtt://127.0.0.1:1883", 30.0)
    assert device.state_dir == tmp_path / "state" / "remoteclip" / "drone-1"
    assert (device.require_signature, device.trusted_keys, device.counts_interval) == (False, (), 1.0)
    assert (device.outbox.max_mib, device.outbox.max_age, device.outbox.history_mib) == (64, 72 * 3600, 16)
    assert (device.evidence.enabled, device.evidence.max_kib, device.evidence.keep_mib) == (True, 64, 64)
    assert (device.metrics, device.home_assistant) == (None, None)  # nothing listens, nobody is told


def test_state_lies_in_the_home_folder_by_default(device_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/home/pilot")
    device_path.write_text(SMALLEST_DEVICE)
    assert load_device(device_path).state_dir == Path("/home/pilot/.local/state/remoteclip/drone-1")


def test_paths_start_at_the_file(device_path: Path, tmp_path: Path) -> None:
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "p.yaml").write_text("prompts: [{id: a, text: a}]")
    (tmp_path / "bundle").mkdir()
    (tmp_path / "key.pem").write_text("")
    (tmp_path / "flight.mp4").write_text("")
    device_path.write_text(
        "device: d\nsource: {uri: flight.mp4}\nbundle: bundle\nprompts: lists/p.yaml\n"
        "state_dir: state\nrequire_signature: true\ntrusted_keys: [key.pem]\n"
    )
    device = load_device(device_path)
    assert device.source.uri == str(tmp_path / "flight.mp4")
    assert device.bundle == str(tmp_path / "bundle")
    assert device.prompts == tmp_path / "lists" / "p.yaml"
    assert device.state_dir == tmp_path / "state"
    assert device.trusted_keys == (tmp_path / "key.pem",)


@pytest.mark.parametrize(
    "uri",
    [
        "demo",
        "rtsp://10.0.0.2/stream",
        "rtsp://pilot@camera:554/stream",
        "/data/flight.mp4",
        "/data/12:30@noon.mp4",
        "file:///data/12:30@noon.mp4",
        "v4l2:///dev/video0",
        "gstreamer:videotestsrc ! capsfilter caps=video/x-raw,a=b:c@d",
    ],
)
def test_sources_that_are_no_relative_paths_stay_as_they_are(device_path: Path, uri: str) -> None:
    device_path.write_text(f"device: d\nsource: {{uri: '{uri}'}}")
    assert load_device(device_path).source.uri == uri


def test_a_broker_with_certificates_and_a_password(device_path: Path) -> None:
    device_path.write_text(
        SMALLEST_DEVICE
        + "mqtt:\n  url: mqtts://broker.example.org\n  username: d\n  password_env: MQTT_PASSWORD\n"
        "  tls: {ca: /etc/ca.pem, cert: /etc/d.pem, key: /etc/d.key}\n  keepalive: 15s\n"
    )
    mqtt = load_device(device_path).mqtt
    assert (mqtt.url, mqtt.keepalive) == ("mqtts://broker.example.org:8883", 15.0)
    assert mqtt.tls is not None
    assert (mqtt.tls.ca, mqtt.tls.cert, mqtt.tls.key) == (
        Path("/etc/ca.pem"),
        Path("/etc/d.pem"),
        Path("/etc/d.key"),
    )


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("source: {uri: demo}", ":1:1: device is missing"),
        ("device: d", ":1:1: source is missing"),
        ("device: d\nsource: demo", ':2:9: source must be a mapping, got "demo"'),
        ("device: d\nsource: {uri: ' '}", ':2:15: uri must name a source, got " "'),
        (
            "device: d\nsource: {uri: gone.mp4}",
            ':2:15: uri must name a video file or folder that exists, got "gone.mp4" (looked for ',
        ),
        (
            "device: d\nsource: {uri: 'rtsp://pilot:hunter2@camera/a'}",
            ":2:15: uri must hold no password (use username and password_file; %40 is an @ of",
        ),
        (
            "device: d\nsource: {uri: 'rtsp://camera/a', stall: 100ms}",
            ":2:41: stall must be between 500ms and 1min",
        ),
        (
            "device: d\nsource: {uri: 'rtsp://camera/a', latency: 2min}",
            ":2:43: latency must be between 100ms and 1min",
        ),
        (
            "device: d\nsource: {uri: demo, transport: udp}",
            ":2:32: transport needs a uri that begins with rtsp://",
        ),
        (
            "device: d\nsource: {uri: 'rtsp://camera/a', password: hunter2}",
            ":2:34: unknown key password (passwords do not belong into this file: use password_file)",
        ),
        ("device: d/e\nsource: {uri: demo}", ':1:9: device must be an identifier, got "d/e"'),
        (SMALLEST_DEVICE + "name: d", ":3:1: unknown key name (the drone's name is `device`)"),
        (
            SMALLEST_DEVICE + "bundle: gone",
            ':3:9: bundle must be default, or name a bundle that exists, got "gone"',
        ),
        (SMALLEST_DEVICE + "prompts: gone.yaml", ":3:10: prompts must name a file that exists"),
        (
            SMALLEST_DEVICE + "engine: {name: openvno}",
            ":3:16: name must be openvino, onnxruntime, tensorrt, onnxruntime-cuda or onnxruntime-tensorrt",
        ),
        (
            SMALLEST_DEVICE + "engine: {workspace_mib: 512}",
            ":3:25: only the engine tensorrt has a workspace (name: tensorrt, or leave it out)",
        ),
        (SMALLEST_DEVICE + "outbox: {max_age: 500ms}", ":3:19: max_age must be between 1s and 168h"),
        (
            SMALLEST_DEVICE + "evidence: {max_kib: 1}",
            ":3:21: max_kib must be between 4 and 512, got 1 (a broker",
        ),
        (SMALLEST_DEVICE + "metrics: {port: 70000}", ":3:17: port must be between 1 and 65535, got 70000"),
        (
            SMALLEST_DEVICE + "metrics: {address: everywhere}",
            ':3:20: address must be an IP address, got "everywhere" (127.0.0.1 for this device only',
        ),
        (
            SMALLEST_DEVICE + "home_assistant: {prefix: 'home/#'}",
            ':3:26: prefix must be a topic such as homeassistant, got "home/#"',
        ),
        (
            SMALLEST_DEVICE + "mqtt: {backlog_rate: 0}",
            ":3:22: backlog_rate must be between 1 and 1000, got 0",
        ),
        (
            SMALLEST_DEVICE + "engine: {name: tensorrt, workspace_mib: 4}",
            ":3:41: workspace_mib must be between 16 and",
        ),
        (SMALLEST_DEVICE + "engine: {workspace: 4}", ":3:10: unknown key workspace (use workspace_mib: 1024"),
        (
            SMALLEST_DEVICE + "engine: {tiles: [2, 9]}",
            ":3:17: tiles must be none, auto or [columns, rows], each from 1 to 8",
        ),
        (
            SMALLEST_DEVICE + "engine: {tiles_where: interest}",
            ":3:23: there are no windows to choose among (tiles: auto, or leave it out)",
        ),
        (SMALLEST_DEVICE + "engine: {tiles: 2x2}", ":3:17: tiles must be none, auto or [columns, rows]"),
        (SMALLEST_DEVICE + "engine: {threads: 0}", ":3:19: threads must be between 1 and 256, got 0"),
        (SMALLEST_DEVICE + "engine: {image_size: 640}", ":3:22: image_size must be a list, got 640"),
        (
            SMALLEST_DEVICE + "engine: {image_size: [640]}",
            ":3:22: image_size must be [width, height], got a list",
        ),
        (
            SMALLEST_DEVICE + "engine: {image_size: [640, 370]}",
            ":3:28: image_size[1] must be a multiple of 32",
        ),
        (
            SMALLEST_DEVICE + "mqtt: {url: 'tcp://h'}",
            ":3:13: url must be mqtt://HOST:PORT or mqtts://HOST:PORT",
        ),
        (SMALLEST_DEVICE + "mqtt: {password: secret}", ":3:8: unknown key password (passwords do not belong"),
        (
            SMALLEST_DEVICE + "mqtt: {url: 'mqtt://u:secret@h'}",
            ":3:13: url must not carry a user name or password",
        ),
        (
            SMALLEST_DEVICE + "mqtt: {username: u, password_env: my secret}",
            ":3:35: password_env must be the name",
        ),
        (SMALLEST_DEVICE + "mqtt: {password_env: A}", ":3:22: a password needs a username beside it"),
        (SMALLEST_DEVICE + "mqtt: {password_file: /a}", ":3:23: a password needs a username beside it"),
        (
            SMALLEST_DEVICE + "mqtt: {username: u, password_env: A, password_file: /a}",
            ":3:53: password_env is given too (keep one of them)",
        ),
        (SMALLEST_DEVICE + "mqtt: {tls: {}}", ":3:13: tls needs a url that begins with mqtts://"),
        (SMALLEST_DEVICE + "mqtt: {url: 'mqtts://h', tls: {cert: /a}}", ":3:38: cert needs key beside it"),
        (SMALLEST_DEVICE + "mqtt: {url: 'mqtts://h', tls: {key: /a}}", ":3:37: key needs cert beside it"),
        (SMALLEST_DEVICE + "mqtt: {keepalive: 1s}", ":3:19: keepalive must be between 5s and 1h"),
        (SMALLEST_DEVICE + "counts_interval: 1ms", ":3:18: counts_interval must be between 100ms and 1h"),
        (
            SMALLEST_DEVICE + "bundle: /b\nrequire_signature: true",
            ":4:20: require_signature needs trusted_keys",
        ),
        (
            SMALLEST_DEVICE + "require_signature: true\ntrusted_keys: [/k.pem]\nbundle: default",
            ":5:9: the default bundle is not signed",
        ),
    ],
)
def test_mistakes(device_path: Path, text: str, line: str) -> None:
    (found,) = device_errors(device_path, text)
    assert found.startswith(line)


@pytest.mark.parametrize(
    "keys",
    [
        "url: 'mqtt://u:4711@h'",
        "url: 'mqtt://h:4711x'",
        "username: u, password: 4711",
        "username: u, password_env: '4711'",
        "username: u, password_env: 4711",
        "username: u, password_file: 4711",
        "username: u, password_file: '4711'",
        "username: u, password_file: '~4711/x'",
        "username: u, password_file: ['4711']",
    ],
)
def test_no_message_repeats_a_password(device_path: Path, keys: str) -> None:
    (line,) = device_errors(device_path, f"{SMALLEST_DEVICE}mqtt: {{{keys}}}")
    assert "4711" not in line


@pytest.mark.parametrize(
    "uri",
    [
        "rtsp://pilot:4711@camera/a",
        "rtsp://pilot:/4711@camera/a",
        "rtsp://pilot:12/4711@camera/a",
        "rtsp:/pilot:4711@camera/a",
        "rtsp:pilot:4711@camera/a",
        "rtsp//pilot:4711@camera/a",
        "http://pilot:a/4711@camera/a",
        "pilot:4711@camera/a",
    ],
)
def test_no_source_holds_a_password(device_path: Path, uri: str) -> None:
    (line,) = device_errors(device_path, f"device: d\nsource: {{uri: '{uri}'}}")
    assert "4711" not in line
    assert "uri must hold no password" in line


def test_the_shipped_device_file_flies_the_sample_over_trees(repository: Path) -> None:
    device = load_device(repository / "firmware_cfg" / "devices" / "cpu.yaml")
    assert Path(device.source.uri).is_file()
    assert device.prompts.samefile(repository / "firmware_cfg" / "prompts" / "trees.yaml")
