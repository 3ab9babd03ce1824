"""`remoteclip run` on the cube of an imaging spectrometer: an alert for water, over a real broker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.system.daemon_process import DaemonProcess, bodies, wait_for
from tests.system.test_daemon_process import has_status

AVIRIS = "380:2500/224 without 1-3,108-112,154-166,220-224"
LIST = Path(__file__).parents[2] / "firmware_cfg/prompts/land_cover.yaml"


def test_the_lake_of_a_real_cube_raises_an_alert(
    data_root: Path, daemon: DaemonProcess, mosquitto: Any, subscribe: Any
) -> None:
    mosquitto.start()
    box = subscribe(mosquitto.settings)
    scene = data_root / "hyperspectral" / "Jasper.mat"
    daemon.write_files(mosquitto.url, f"{{uri: {scene}, cube: {{wavelengths: '{AVIRIS}', window: 50}}}}")
    (daemon.folder / "prompts.yaml").write_bytes(LIST.read_bytes())
    daemon.start()
    messages = wait_for(box, has_status("stopped"))
    assert daemon.end() == 0, daemon.log

    first = bodies(messages, "events")[0]
    assert (first["msg_type"], first["prompt"], first["frame"]) == ("raise", "water", 0)
    assert bodies(messages, "status")[-1]["reason"] == "end of source"
