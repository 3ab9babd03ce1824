"""What `remoteclip prompts show` tells of a device: the list in force, and those that can come back."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path

from edge.prompts.owner import ShelfError, is_owned
from edge.prompts.shelf import KeptList, list_path, read_list, read_record
from firmware_cfg.errors import ConfigErrors
from firmware_cfg.prompt_list import PromptList, load_prompt_bytes
from firmware_cfg.yaml_tree import read_config_bytes


@dataclass(frozen=True, slots=True)
class ShownPrompt:
    """One prompt; `threshold` is None where the model's own is used."""

    id: str
    kind: str
    text: tuple[str, ...]
    threshold: float | None


@dataclass(frozen=True, slots=True)
class ShownList:
    """One list on the shelf; `problem` says why it could not be read, `applied_at` is ISO 8601, UTC."""

    sha256: str
    source: str
    applied_at: str
    file: str
    prompts: tuple[ShownPrompt, ...]
    background: tuple[str, ...]
    problem: str


@dataclass(frozen=True, slots=True)
class ShelfReport:
    """Everything.

    Attributes:
        flying: a daemon uses these lists at this moment.
        in_force: None where the device has never flown.
        earlier: the latest first.
        device_list, device_list_sha256: the file that the device file names; None where it cannot be read.
        device_list_problem: the first line of why it cannot be taken, as far as the file alone tells; or "".
    """

    flying: bool
    in_force: ShownList | None
    earlier: tuple[ShownList, ...]
    device_list: str
    device_list_sha256: str | None
    device_list_problem: str = ""

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)

    def lines(self) -> list[str]:
        """For people."""
        shown = self.in_force
        if shown is None:
            return [f"never flown; the first flight begins with {self.device_list}"]
        lines = [f"in force  {_summary(shown)}{'' if self.flying else ' (no daemon flies)'}"]
        for prompt in shown.prompts:
            threshold = "the model's" if prompt.threshold is None else f"{prompt.threshold:g}"
            lines.append(f"  {prompt.id} ({prompt.kind}, threshold {threshold}): {' | '.join(prompt.text)}")
        if shown.background:
            lines.append(f"  background: {' | '.join(shown.background)}")
        lines += [f"earlier   {_summary(kept)}" for kept in self.earlier]
        if self.device_list_sha256 is None:
            lines.append(f"{self.device_list}: cannot be read")
        elif self.device_list_sha256 != shown.sha256:
            refused = f"; it is refused: {self.device_list_problem}" if self.device_list_problem else ""
            lines.append(f"{self.device_list} holds another list, {self.device_list_sha256[:12]}{refused}")
        return lines


def shelf_report(folder: Path, device_list: Path) -> ShelfReport:
    """Look at a shelf, whoever owns it at this moment.

    Args:
        folder: of the shelf.
        device_list: the list that the device file names.

    Raises:
        ShelfError: the shelf is damaged, or may not be read.
    """
    record = read_record(folder)
    device_list_sha256, problem = None, ""
    try:
        data = read_config_bytes(device_list)
        device_list_sha256 = hashlib.sha256(data).hexdigest()
        load_prompt_bytes(data, str(device_list))
    except ConfigErrors as error:
        problem = str(error).splitlines()[0]
    return ShelfReport(
        flying=is_owned(folder),
        in_force=None if record is None else _shown(folder, record.in_force),
        earlier=() if record is None else tuple(_shown(folder, kept) for kept in record.earlier),
        device_list=str(device_list),
        device_list_sha256=device_list_sha256,
        device_list_problem=problem,
    )


def _shown(folder: Path, kept: KeptList) -> ShownList:
    path = list_path(folder, kept.sha256)
    problem, found = "", None
    try:
        found = load_prompt_bytes(read_list(folder, kept.sha256), str(path)).model
    except (ShelfError, ConfigErrors) as error:
        problem = str(error).splitlines()[0]
    return ShownList(
        sha256=kept.sha256,
        source=kept.source,
        applied_at=kept.applied_at.isoformat(timespec="seconds").replace("+00:00", "Z"),
        file=str(path),
        prompts=() if found is None else _prompts(found),
        background=() if found is None else found.background,
        problem=problem,
    )


def _prompts(found: PromptList) -> tuple[ShownPrompt, ...]:
    return tuple(ShownPrompt(one.id, one.kind, one.text, one.threshold) for one in found.prompts)


def _summary(shown: ShownList) -> str:
    ids = shown.problem or ", ".join(prompt.id for prompt in shown.prompts)
    return f"{shown.sha256[:12]}  {shown.applied_at}  {shown.source}: {ids}"
