"""JSON Schemas of the messages, and of the two YAML files for editors that complete keys.

`python -m firmware_cfg.schemas` writes them beside this file, `--check` only tells whether they are current.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from firmware_cfg.device import DeviceFile
from firmware_cfg.messages import (
    Alert,
    AlertAck,
    Counts,
    Event,
    EvidenceRequest,
    Health,
    PromptsAck,
    PromptsState,
    ReplayAnswer,
    ReplayRequest,
    Status,
    ThumbnailRequest,
)
from firmware_cfg.prompt_list import PromptList

SCHEMA_DIR = Path(__file__).parent
_DIALECT = "https://json-schema.org/draft/2020-12/schema"

#: File name without its ending -> model, and whether it describes what is written (messages) or read (YAML).
MODELS: dict[str, type[BaseModel]] = {
    "status": Status,
    "counts": Counts,
    "event": Event,
    "alert": Alert,
    "alert_ack": AlertAck,
    "prompts_state": PromptsState,
    "prompts_ack": PromptsAck,
    "health": Health,
    "evidence_request": EvidenceRequest,
    "thumbnail_request": ThumbnailRequest,
    "replay_request": ReplayRequest,
    "replay_answer": ReplayAnswer,
    "prompt_list": PromptList,
    "device": DeviceFile,
}


def schema_texts() -> dict[str, str]:
    """File name -> the text that the file should have."""
    return {f"{name}.schema.json": _text(name, model) for name, model in MODELS.items()}


def stale_schemas(folder: Path = SCHEMA_DIR) -> list[str]:
    """Names of the schema files in `folder` that are missing, out of date, or belong to no model."""
    wanted = schema_texts()
    present = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.schema.json")}
    return sorted(name for name in wanted.keys() | present.keys() if wanted.get(name) != present.get(name))


def _text(name: str, model: type[BaseModel]) -> str:
    schema: dict[str, Any] = {
        "$schema": _DIALECT,
        "$id": f"urn:remoteclip:1:{name}",
        **model.model_json_schema(by_alias=True, mode="validation"),
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
