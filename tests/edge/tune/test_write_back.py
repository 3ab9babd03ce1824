"""Changes put into a list's own text: nothing else moves, and what cannot be done safely is refused."""

from __future__ import annotations

import difflib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.tune.write_back import difference, edited, write_back
from firmware_cfg.errors import RemoteclipError
from firmware_cfg.prompt_list import PromptList, load_prompt_bytes, load_prompt_list

SHIPPED = sorted((Path(__file__).parents[3] / "firmware_cfg" / "prompts").glob("*.yaml"))
BLOCK = b"""\
# first line
prompts:
  - id: a            # the thing
    text:
      - one
      - two          # the last sentence

    # about the threshold
    threshold: 0.4   # as measured
    alerts:
      - when: count >= 1
  - {id: b, text: three}  # short
background: [x, "y: z"]  # not these
# last line
"""


def changed(
    model: PromptList, number: int, *, background: tuple[str, ...] = (), **fields: float
) -> PromptList:
    prompts = list(model.prompts)
    prompts[number] = prompts[number].model_copy(update=fields)
    return model.model_copy(
        update={"prompts": tuple(prompts), "background": (*model.background, *background)}
    )


def lines_changed(before: bytes, after: bytes) -> list[str]:
    delta = difflib.ndiff(before.decode().splitlines(), after.decode().splitlines())
    return [line for line in delta if line[0] in "+-"]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_list_is_edited_in_place(path: Path) -> None:
    data = path.read_bytes()
    before = load_prompt_bytes(data, path.name).model
    assert edited(data, path.name, before) == data
    for number in range(len(before.prompts)):
        model = changed(before, number, background=("a skylight: on a roof",), bias=-1.25, temperature=0.8)
        after = edited(data, path.name, model)
        assert load_prompt_bytes(after, path.name).model == model
        # A list without any background sentence gets the key, too.
        added = 3 if before.background else 4
        assert [line[:1] for line in lines_changed(data, after)] == ["+"] * added


def test_comments_stay_where_they_are() -> None:
    model = changed(load_prompt_bytes(BLOCK, "x").model, 0, threshold=0.55, bias=0.5)
    model = changed(model, 1, threshold=0.3, background=("- dash", "plain"))
    assert lines_changed(BLOCK, edited(BLOCK, "x", model)) == [
        "-     threshold: 0.4   # as measured",
        "+     threshold: 0.55   # as measured",
        "+     bias: 0.5",
        "-   - {id: b, text: three}  # short",
        "+   - {id: b, text: three, threshold: 0.3}  # short",
        '- background: [x, "y: z"]  # not these',
        "+ background: [x, \"y: z\", '- dash', plain]  # not these",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "prompts: [{id: a, text: [one, two]}]",
        "{prompts: [{id: a, text: one}]}",
        "prompts:\n- id: a\n  text:\n  - one",
        "prompts:\n- text: one\n  id: a\nbackground:\n- x\n- y\n\n# end\n",
        "prompts:\n- id: a\n  text: >-\n    one\n    two\nbackground: []\n",
        "prompts:\n- id: a\n  text: one\n  alerts: [{when: count > 1}]\nzones: {z: [[0, 0], [1, 0], [1, 1]]}",
    ],
)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_any_layout_is_kept(text: str, newline: str, mark: bytes) -> None:
    data = mark + text.replace("\n", newline).encode()
    model = changed(load_prompt_bytes(data, "x").model, 0, threshold=0.7, background=("über: all", "yes"))
    after = edited(data, "x", model)
    assert load_prompt_bytes(after, "x").model == model
    assert after.startswith(mark)
    if newline.encode() in data:
        assert after.count(b"\n") == after.count(newline.encode())


@given(
    st.floats(0.05, 0.95).map(lambda x: round(x, 2)),
    st.floats(-20, 20).map(lambda x: round(x, 2)),
    st.floats(0.05, 20).map(lambda x: round(x, 2)),
    st.text(
        st.characters(min_codepoint=32, exclude_categories=("Cs", "Cc", "Zl", "Zp", "Cf", "Cn", "Co", "Zs")),
        min_size=1,
        max_size=30,
    ),
)
def test_any_numbers_and_sentence_read_back(
    threshold: float, bias: float, temperature: float, text: str
) -> None:
    before = load_prompt_bytes(BLOCK, "x").model
    model = changed(before, 0, threshold=threshold, bias=bias, temperature=temperature, background=(text,))
    if text.casefold() in ("one", "two", "three"):
        return
    assert load_prompt_bytes(edited(BLOCK, "x", model), "x").model == model


def test_anchors_are_refused() -> None:
    data = b"prompts:\n- &p {id: a, text: &t one, threshold: &n 0.5, review_below: *n}\n"
    before = load_prompt_bytes(data, "x").model
    with pytest.raises(RemoteclipError, match="x: is written in a way that cannot be edited safely"):
        edited(data, "x", changed(before, 0, threshold=0.6, review_below=0.7))


def test_a_list_that_would_not_be_valid_is_not_made() -> None:
    before = load_prompt_bytes(BLOCK, "x").model
    with pytest.raises(RemoteclipError, match="cannot be edited safely"):
        edited(BLOCK, "x", changed(before, 0, background=("one",)))


def test_a_list_that_changed_meanwhile_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "list.yaml"
    path.write_bytes(BLOCK)
    loaded = load_prompt_list(path)
    after = edited(BLOCK, "list", changed(loaded.model, 0, threshold=0.5))
    path.write_bytes(BLOCK + b"# somebody was here\n")
    with pytest.raises(RemoteclipError, match="changed meanwhile"):
        write_back(loaded, after)
    assert path.read_bytes().endswith(b"here\n")
    write_back(load_prompt_list(path), after)
    assert path.read_bytes() == after
    assert "+    threshold: 0.5   # as measured" in difference(BLOCK, after, "list").splitlines()
