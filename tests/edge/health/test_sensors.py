"""Sensors as the kernel shows them: trees like those of real boards, written into a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.health.sensors import SensorReading, read_sensors


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


ORIN_NX = {
    "class/thermal/thermal_zone0/type": "cpu-thermal",
    "class/thermal/thermal_zone0/temp": "51250",
    "class/thermal/thermal_zone1/type": "gpu-thermal",
    "class/thermal/thermal_zone1/temp": "48000",
    "class/thermal/thermal_zone2/type": "cv0-thermal",  # switched off: reading it fails, as without the file
    "class/thermal/thermal_zone3/type": "cv1-thermal",
    "class/thermal/thermal_zone3/temp": "-256000",
    "class/thermal/thermal_zone10/type": "tj-thermal",
    "class/thermal/thermal_zone10/temp": "51700",
    "class/thermal/cooling_device0/type": "pwm-fan",
    "class/thermal/cooling_device0/cur_state": "2",
    "class/thermal/cooling_device1/type": "cpufreq-cpu0",
    "class/thermal/cooling_device1/cur_state": "0",
    "class/thermal/cooling_device2/type": "gpu-throttle-alert",
    "class/thermal/cooling_device2/cur_state": "0",
    "class/hwmon/hwmon0/name": "soctherm_oc",
    "class/hwmon/hwmon0/oc1_event_cnt": "3",
    "class/hwmon/hwmon0/oc2_event_cnt": "1",
    "class/hwmon/hwmon1/name": "ina3221",
    "class/hwmon/hwmon1/in1_label": "VDD_IN",
    "class/hwmon/hwmon1/in1_input": "4968",
    "class/hwmon/hwmon1/curr1_input": "1520",
    "class/hwmon/hwmon1/in2_label": "VDD_CPU_GPU_CV",
    "class/hwmon/hwmon1/in2_input": "4968",
    "class/hwmon/hwmon1/curr2_input": "400",
    "class/hwmon/hwmon1/in3_label": "VDD_SOC",  # its channel is switched off
    "class/hwmon/hwmon1/in3_input": "4968",
    "class/hwmon/hwmon1/in7_label": "sum of shunt voltages",
    "class/hwmon/hwmon1/in7_input": "17",
    "class/hwmon/hwmon2/name": "nvme",
    "class/hwmon/hwmon2/in1_label": "NOT_OURS",
    "class/hwmon/hwmon2/in1_input": "1",
    "class/hwmon/hwmon2/curr1_input": "1",
}


def test_an_orin_nx_tells_its_zones_rails_and_over_currents(tmp_path: Path) -> None:
    reading = read_sensors(tree(tmp_path, ORIN_NX))
    assert list(reading.temperatures_c.items()) == [
        ("cpu-thermal", 51.2),
        ("gpu-thermal", 48.0),
        ("tj-thermal", 51.7),
    ]
    assert reading.hottest_c == 51.7
    assert reading.power_w == {"VDD_IN": 7.551, "VDD_CPU_GPU_CV": 1.987}
    assert reading.total_power_w == 7.551
    assert (reading.throttled, reading.overcurrent_events) == (False, 4)


def test_a_board_without_an_input_rail_takes_the_sum_of_its_rails(tmp_path: Path) -> None:
    rails = ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0", "NC", "VDDQ_VDD2_1V8AO", "NC")
    files = {}
    for number, rail in enumerate(rails):
        chip, channel = f"class/hwmon/hwmon{number // 3}", number % 3 + 1
        files |= {
            f"{chip}/name": "ina3221",
            f"{chip}/in{channel}_label": rail,
            f"{chip}/in{channel}_input": "5000",
            f"{chip}/curr{channel}_input": "1000",
        }
    reading = read_sensors(tree(tmp_path, files))
    assert list(reading.power_w) == ["VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0", "VDDQ_VDD2_1V8AO"]
    assert reading.total_power_w == 20.0


@pytest.mark.parametrize("kind", ["cpufreq-cpu0", "thermal-cpufreq-0", "Processor", "gpu-throttle-alert"])
def test_a_processor_that_is_slowed_down_is_told_a_fan_that_turns_is_not(tmp_path: Path, kind: str) -> None:
    device = "class/thermal/cooling_device1"
    tree(tmp_path, {f"{device}/type": "pwm-fan", f"{device}/cur_state": "4"})
    assert read_sensors(tmp_path).throttled is None
    tree(tmp_path, {f"{device}0/type": kind, f"{device}0/cur_state": "0"})
    assert read_sensors(tmp_path).throttled is False
    tree(tmp_path, {f"{device}0/cur_state": "2"})
    assert read_sensors(tmp_path).throttled is True


def test_zones_of_one_name_are_kept_apart_and_constants_left_out(tmp_path: Path) -> None:
    files = {}
    for number, (name, milli) in enumerate(
        [
            ("acpitz", "27800"),
            ("acpitz", "29800"),
            ("PMIC-Die", "100000"),
            ("acpitz", "x"),
            ("acpitz", "-5500"),
        ]
    ):
        zone = f"class/thermal/thermal_zone{number}"
        files |= {f"{zone}/type": name, f"{zone}/temp": milli}
    assert read_sensors(tree(tmp_path, files)).temperatures_c == {
        "acpitz": 27.8,
        "acpitz-2": 29.8,
        "acpitz-3": -5.5,
    }


def test_a_machine_without_sensors_tells_nothing(tmp_path: Path) -> None:
    reading = read_sensors(tmp_path / "nowhere")
    assert reading == SensorReading()
    assert (reading.hottest_c, reading.total_power_w) == (None, None)
    read_sensors()  # of this machine, whatever it has
