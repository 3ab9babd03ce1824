from __future__ import annotations

import html
import json
from pathlib import Path

import ftfy
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from open_clip.tokenizer import SimpleTokenizer
from tokenizers import Tokenizer

from training.towers.tokenizer import clip_tokenizer, clip_tokens

OURS = clip_tokenizer()
THEIRS = SimpleTokenizer()


def their_ids(text: str) -> list[int]:
    return [THEIRS.sot_token_id, *THEIRS.encode(text), THEIRS.eot_token_id]


# Western and other letters, digits of several scripts, punctuation, emoji, white space.
LETTERS = st.characters(max_codepoint=0x024F, exclude_categories=["Cc", "Cs", "Cn"])
OTHERS = st.sampled_from(list("αβγжйцשלוםعرب日本語한글१२३٤½²😀🚁€…–—“”‘’«»\t\n\u3000"))
WORDS = st.sampled_from(["it's", "DON'T", "we'll", "I'VE", "they'd", "x'm", "airport", "B-52", "12.5%", "."])


@given(st.lists(st.one_of(LETTERS, OTHERS, WORDS), max_size=12).map("".join))
def test_ids_are_open_clips(text: str) -> None:
    straight = text.translate({ord(a): b for a, b in zip("“”‘’", "\"\"''", strict=True)})
    assume(
        ftfy.fix_text(straight) == straight and html.unescape(straight) == straight
    )  # text that is as it was meant
    assert OURS.encode(text).ids == their_ids(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "a satellite photo of a {}.",
        "15 aircrafts' wings",
        "naïve Ångström café",
        "snow❄️man",
        "a" * 300,
    ],
)
def test_ids_of_chosen_sentences_are_open_clips(text: str) -> None:
    assert OURS.encode(text).ids == their_ids(text)


def test_ids_of_real_captions_are_open_clips(data_root: Path) -> None:
    document = json.loads((data_root / "rsicd" / "dataset_rsicd.json").read_text())
    texts = [sentence["raw"] for image in document["images"][:800] for sentence in image["sentences"]]
    assert len(texts) > 2000
    assert [entry.ids for entry in OURS.encode_batch(texts)] == [their_ids(text) for text in texts]


def test_token_rows_are_padded_and_cut_as_open_clips() -> None:
    texts = ["two boats", "word " * 100, ""]
    ours, theirs = clip_tokens(texts, 77), THEIRS(texts)
    assert ours.tolist() == theirs.tolist()
    assert clip_tokens(texts[::2], 77).tolist() == theirs[::2, :4].tolist()
    assert clip_tokens([], 77).shape == (0, 0)


def test_control_tokens_written_in_a_sentence_are_text() -> None:
    ids = OURS.encode("a <end_of_text> b").ids
    assert ids.count(THEIRS.eot_token_id) == 1
    assert ids[-1] == THEIRS.eot_token_id


def test_the_file_reads_as_the_object_does(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text(OURS.to_str(), "utf-8")
    text = "“it’s” a café, 25 boats"
    assert Tokenizer.from_file(str(tmp_path / "tokenizer.json")).encode(text).ids == OURS.encode(text).ids
