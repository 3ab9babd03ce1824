"""What a run writes so that a resume goes on where it stopped."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from training.checkpoint import load_state, save_state
from training.errors import CheckpointError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


class ResumableRun:
    """Base of a dataclass whose fields are all that a resume must restore.

    A field with a state_dict (model, optimizer, scaler) is saved as that and restored in place, any other as
    it is: numbers, texts, and lists and dicts of them.
    """

    def save(self: DataclassInstance, file: Path) -> None:
        """Write the state; a kill leaves the former one or this one."""
        state = {field.name: getattr(self, field.name) for field in fields(self)}
        save_state(file, {name: _state(value) for name, value in state.items()})

    def restore(self: DataclassInstance, file: Path) -> None:
        """Take up the saved run. Raises CheckpointError where the state is damaged or another model's."""
        state = load_state(file)
        try:
            for field in fields(self):
                value = getattr(self, field.name)
                if hasattr(value, "load_state_dict"):
                    value.load_state_dict(state[field.name])
                else:
                    setattr(self, field.name, state[field.name])
        except (KeyError, RuntimeError, ValueError) as error:
            raise CheckpointError(f"{file}: not the state of this model; choose another folder") from error


def _state(value: object) -> object:
    return value.state_dict() if hasattr(value, "state_dict") else value
