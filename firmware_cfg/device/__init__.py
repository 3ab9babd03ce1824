"""Device files: which camera, which model, which prompts and which broker one drone uses.

A module for each section; `load_device` reads a file.
"""

from __future__ import annotations

from firmware_cfg.device.camera import Camera, CameraMatrix, Distortion
from firmware_cfg.device.engine import Engine
from firmware_cfg.device.file import DEFAULT_BUNDLE, DeviceFile, load_device
from firmware_cfg.device.mqtt import Mqtt, Tls
from firmware_cfg.device.record import Record
from firmware_cfg.device.records import Evidence, Outbox
from firmware_cfg.device.reporting import HomeAssistant, Metrics
from firmware_cfg.device.source import DEMO_SOURCE, Source
from firmware_cfg.device.telemetry import Accuracy, Telemetry

__all__ = [
    "DEFAULT_BUNDLE",
    "DEMO_SOURCE",
    "Accuracy",
    "Camera",
    "CameraMatrix",
    "DeviceFile",
    "Distortion",
    "Engine",
    "Evidence",
    "HomeAssistant",
    "Metrics",
    "Mqtt",
    "Outbox",
    "Record",
    "Source",
    "Telemetry",
    "Tls",
    "load_device",
]
