"""What a run measures: subjects, each in a process of its own, and the tasks that they take turns at."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

KINDS = ("daemon", "engine", "remoteclip", "tower", "owlvit", "ceiling", "rows")
"""What runs in a child process; see `compile.bench.worker`."""

FRAME = "a frame"
TILES = "3x2 tiles"
TILES_AT_ONCE = "3x2 tiles, one batch"
FLAT_OUT = "flat out"
PACED = "10 frames/s"

TURN = "turn"
"""Name of the samples that hold the length of a turn over its frames, one a turn."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What all subjects of one clip have in common. Paths are absolute.

    Attributes:
        clip: the video that frames come from.
        bundle, prompts: as on the command line.
        work: an empty folder, deleted in the end.
        broker: of an MQTT broker on this machine; empty where there is none.
        weights: RemoteCLIP's weights; empty: random ones, which take the same time.
        tower: RemoteCLIP's image tower as ONNX; empty where it could not be exported.
        image_size: (width, height) of the model tile; None: the daemon's own choice.
        precision: variant of the bundle for a part that runs one alone.
    """

    clip: str
    bundle: str
    prompts: str
    work: str
    broker: str = ""
    weights: str = ""
    tower: str = ""
    image_size: tuple[int, int] | None = None
    precision: str = "auto"


@dataclass(frozen=True, slots=True)
class Subject:
    """One process: a kind with its variant, such as ("engine", "openvino int8")."""

    kind: str
    variant: str
    tasks: tuple[str, ...]

    @property
    def name(self) -> str:
        """As tables call it."""
        return LABELS.get((self.kind, self.variant), f"{self.kind} {self.variant}".strip())


LABELS = {
    ("daemon", "int8"): "daemon, int8",
    ("daemon", "fp32"): "daemon, float32",
    ("engine", "openvino int8"): "engine, openvino int8",
    ("engine", "openvino fp32"): "engine, openvino float32",
    ("engine", "onnxruntime int8"): "engine, onnxruntime int8",
    ("engine", "onnxruntime fp32"): "engine, onnxruntime float32",
    ("remoteclip", ""): "RemoteCLIP, open_clip",
    ("tower", ""): "RemoteCLIP, onnxruntime",
    ("owlvit", ""): "OWL-ViT B/32",
    ("ceiling", ""): "this machine",
}


def request(subject: Subject, setting: Setting) -> dict[str, Any]:
    """What a worker is started with, as JSON."""
    return {"kind": subject.kind, "variant": subject.variant, "setting": asdict(setting)}


def setting_of(fields: dict[str, Any]) -> Setting:
    """Back from JSON."""
    size = fields.pop("image_size", None)
    return Setting(**fields, image_size=tuple(size) if size else None)
