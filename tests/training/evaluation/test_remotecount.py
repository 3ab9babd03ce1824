from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from firmware_cfg.errors import RemoteclipError, UsageError
from training.captioning.words import number_word
from training.evaluation.remotecount import evaluate_remotecount, ranked


class CountingSubject:
    """Embeds an image as the number of bright blobs in it, and a caption as the number that it names."""

    name, kind, sha256, path = "counter", "bundle", "0", Path("counter")

    def __init__(self, off: int = 0) -> None:
        self.asked: list[str] = []
        self._off = off

    def image_embeddings(self, paths, description: str) -> np.ndarray:
        import cv2

        counts = [
            cv2.connectedComponents((cv2.imread(str(path))[..., 0] > 180).astype(np.uint8))[0] - 1
            for path in paths
        ]
        return self._rows(np.array(counts) + self._off)

    def text_embeddings(self, texts, description: str) -> np.ndarray:
        self.asked += texts
        words = {number_word(number): number for number in range(1, 11)} | {str(n): n for n in range(1, 11)}
        return self._rows(np.array([next(words[w] for w in text.split() if w in words) for text in texts]))

    @staticmethod
    def _rows(numbers: np.ndarray) -> np.ndarray:
        angle = np.clip(numbers, 0, 12) * 0.1  # nearer numbers are more similar
        return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)


def things(count: int) -> tuple:
    return tuple(("ship", (10 + 25 * i, 20, 25 + 25 * i, 40), 90) for i in range(count))


@pytest.fixture
def fleet(blob_set, drawn) -> Path:
    many = tuple(("car", (4 + 26 * i, 100, 14 + 26 * i, 110), 90) for i in range(12))
    return blob_set("fleet", test=[drawn(things(n)) for n in (1, 2, 2, 5)] + [drawn(many), drawn()])


def test_the_true_number_is_found(fleet: Path) -> None:
    subject = CountingSubject()
    report = evaluate_remotecount(subject, fleet)
    assert (report.n, report.images) == (4, 4)  # twelve cars are too many, and nothing is no pair
    assert report.top == (1.0,) * 10
    assert (report.mae, report.majority) == (0.0, 0.5)
    assert [report.confusion[i][i] for i in range(10)] == [1, 2, 0, 0, 1, 0, 0, 0, 0, 0]
    assert subject.asked[:2] == ["an aerial image of one ship", "an aerial image of two ships"]
    document = report.as_json()
    assert document["top1"] == document["top10"] == 1.0
    assert document["confusion_rows"][1][1] == 1.0
    assert document["confusion_rows"][2] is None
    assert document["classes"] == {"ship": {"n": 4, "top1": 1.0}}


def test_a_model_that_is_one_off_is_right_at_the_second_guess_or_third(fleet: Path) -> None:
    report = evaluate_remotecount(CountingSubject(off=1), fleet, numbers="digits", template="{} from above")
    assert report.top[0] == 0.0
    assert report.top[2] == 1.0
    assert report.mae == 1.0
    assert (report.top1_low, report.top1_high) == (0.0, 0.0)


@given(
    arrays.arrays(
        np.float32, st.tuples(st.integers(1, 5), st.just(10)), elements=st.sampled_from([0.1, 0.2, 0.3])
    ),
    st.data(),
)
def test_ranks_agree_with_sorting_and_ties_never_help(similarity: np.ndarray, data: st.DataObject) -> None:
    true = np.array([data.draw(st.integers(1, 10)) for _ in similarity])
    rank, best = ranked(similarity, true)
    for row, number, place, chosen in zip(similarity, true, rank, best, strict=True):
        others = sorted(np.delete(row, number - 1), reverse=True)
        assert place == sum(value >= row[number - 1] for value in others)
        assert (chosen == number) == (place == 0)
        if chosen != number:
            assert row[chosen - 1] == others[0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"numbers": "roman"}, "words or digits, not roman"),
        ({"template": "an image of {} and {}"}, "must hold {} once"),
        ({"classes": ["car"]}, "shows 1 to 10 things"),
    ],
)
def test_what_cannot_be_asked_is_refused(fleet: Path, settings: dict, message: str) -> None:
    with pytest.raises(RemoteclipError, match=message) as caught:
        evaluate_remotecount(CountingSubject(), fleet, **settings)
    assert isinstance(caught.value, UsageError) == ("classes" not in settings)


def test_the_figure_is_drawn(fleet: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    evaluate_remotecount(CountingSubject(), fleet).plot(tmp_path / "confusion.png")
    assert (tmp_path / "confusion.png").stat().st_size > 1000
