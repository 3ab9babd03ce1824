"""What a prompt list loses that has more object rows than the model looks for."""

from __future__ import annotations

from firmware_cfg.prompt_list import GRAPH_ROWS, PromptList


def long_list_remark(prompt_list: PromptList) -> str | None:
    """What to know of a list with more than GRAPH_ROWS object rows, in one line; None for any other."""
    rows = sum(prompt.rows for prompt in prompt_list.prompts if prompt.kind == "object")
    if rows <= GRAPH_ROWS:
        return None
    return (
        f"has {rows} object rows, and only the {GRAPH_ROWS} most general are looked for everywhere:"
        " about one place in five may be missed (use fewer object prompts or synonyms, or match: mean)"
    )
