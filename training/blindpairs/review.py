"""`review_below` into a prompt list, where two models say that a person should look."""

from __future__ import annotations

from edge.tune.write_back import difference, edited, write_back
from firmware_cfg.errors import RemoteclipError
from firmware_cfg.located_yaml import read_config_bytes
from firmware_cfg.prompt_list import LoadedPromptList, PromptList
from training.blindpairs.prompts import Confusions


def reviewed(model: PromptList, report: Confusions) -> PromptList:
    """The list with `review_below` as the report has it; of prompts that it says nothing of, as they are."""
    advice = {item.prompt: item.review_below for item in report.prompts}
    prompts = tuple(
        prompt if advice[prompt.id] is None else prompt.model_copy(update={"review_below": advice[prompt.id]})
        for prompt in model.prompts
    )
    return model.model_copy(update={"prompts": prompts})


def write_review(report: Confusions, loaded: LoadedPromptList, *, write: bool) -> str:
    """The change as a unified diff, empty where there is none; the file is changed only if `write`.

    Comments, order and layout stay, and the file is replaced as a whole.

    Raises:
        RemoteclipError: the list was changed since it was read, is of another report, cannot be edited safely
            (anchors) or cannot be written.
    """
    if report.list_sha256 != loaded.sha256:
        raise RemoteclipError(f"{loaded.path}: is not the list that was examined (run the command again)")
    before = read_config_bytes(loaded.path)
    after = edited(before, loaded.path, reviewed(loaded.model, report))
    diff = difference(before, after, loaded.path, "reviewed")
    if write and diff:
        write_back(loaded, after)
    return diff
