"""Search, thresholds and selection of pairs, against all pairs looked at one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.blindpairs.mine import (
    Alike,
    Thresholds,
    alike,
    choose_thresholds,
    other_thresholds,
    select,
)


def _rows(seed: int, n: int, width: int) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(n, width))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def _at(*degrees: float) -> np.ndarray:
    """Unit rows at angles: the cosine of two is that of their difference."""
    angle = np.radians(degrees)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)


@given(seed=st.integers(0, 1000), n=st.integers(2, 40), t1=st.floats(-0.5, 0.9), t2=st.floats(-0.9, 0.9))
@settings(max_examples=40, deadline=None)
def test_the_search_finds_every_blind_pair_and_no_other(seed: int, n: int, t1: float, t2: float) -> None:
    model, encoder = _rows(seed, n, 6), _rows(seed + 1, n, 5)
    found = alike(model, encoder, t1).blind(t2)
    wanted = {
        (i, j)
        for i in range(n)
        for j in range(i + 1, n)
        if model[i] @ model[j] > t1 and encoder[i] @ encoder[j] < t2
    }
    close = {  # rounding may put these on either side
        (i, j)
        for i in range(n)
        for j in range(i + 1, n)
        if min(abs(model[i] @ model[j] - t1), abs(encoder[i] @ encoder[j] - t2)) < 1e-5
    }
    assert set(zip(found.i.tolist(), found.j.tolist(), strict=True)) ^ wanted <= close
    gap = found.model - found.encoder
    assert (np.diff(gap) <= 1e-6).all()  # the greatest difference of opinion first


def test_more_images_than_a_block_are_paired_across_blocks() -> None:
    model = _rows(0, 1100, 4)
    found = alike(model, model, 0.999)
    similar = np.triu(model @ model.T > 0.999, 1)
    assert set(zip(found.i.tolist(), found.j.tolist(), strict=True)) == set(
        zip(*np.nonzero(similar), strict=True)
    )


def test_the_approximate_search_misses_little_and_invents_nothing() -> None:
    pytest.importorskip("faiss")
    rng = np.random.default_rng(5)
    # 300 scenes of five images each: neighbours are plain, as in a real folder.
    model = np.repeat(_rows(2, 300, 32), 5, axis=0) + rng.normal(0, 0.05, (1500, 32)).astype(np.float32)
    model = (model / np.linalg.norm(model, axis=1, keepdims=True)).astype(np.float32)
    exact, near = (alike(model, model, 0.8, exact=limit) for limit in (10_000, 100))
    every = set(zip(exact.i.tolist(), exact.j.tolist(), strict=True))
    met = set(zip(near.i.tolist(), near.j.tolist(), strict=True))
    assert len(every) > 2000
    assert met <= every
    assert len(met) > 0.99 * len(every)
    assert len(near) == len(met)  # none twice


def test_quantiles_are_over_all_pairs_of_images() -> None:
    model, encoder = _at(0, 10, 30, 60), _at(0, 90, 45, 20)
    found = choose_thresholds(model, encoder, None, None, 0.8)
    cosines = [np.cos(np.radians(d)) for d in (10, 30, 60, 20, 50, 30)]
    others = [np.cos(np.radians(d)) for d in (90, 45, 20, 45, 70, 25)]
    assert found.t1 == pytest.approx(np.quantile(cosines, 0.8), abs=1e-6)
    assert found.t2 == pytest.approx(np.median(others), abs=1e-6)
    assert choose_thresholds(model, encoder, 0.9, 0.1, 0.8) == Thresholds(0.9, 0.1)
    assert choose_thresholds(model, encoder, 0.9, None, 0.8).t2 == found.t2


def test_an_image_is_in_one_pair_unless_more_are_allowed() -> None:
    model, encoder = _at(0, 1, 2, 3), _at(0, 90, 180, 270)
    found = alike(model, encoder, 0.9).blind(0.5)
    assert len(found) == 6
    once = select(found, model, encoder, 10)
    assert sorted([*once.i.tolist(), *once.j.tolist()]) == [0, 1, 2, 3]
    assert len(select(found, model, encoder, 10, per_image=3)) == 6
    assert len(select(found, model, encoder, 1)) == 1


def test_a_pair_of_near_copies_of_a_taken_pair_is_left_out() -> None:
    # 0 and 1 are frames of one flight, 2 and 3 of another one.
    model, encoder = _at(0, 1, 2, 3), _at(0, 5, 120, 125)
    pairs = Alike(np.array([0, 1, 1]), np.array([2, 3, 2]), np.ones(3, np.float32), np.zeros(3, np.float32))
    taken = select(pairs, model, encoder, 10, per_image=5)
    assert (taken.i.tolist(), taken.j.tolist()) == ([0], [2])
    apart = _at(0, 40, 120, 160)
    assert len(select(pairs, model, apart, 10, per_image=5)) == 3


def test_only_usable_pairs_are_taken() -> None:
    model, encoder = _at(0, 1, 2, 3), _at(0, 90, 180, 270)
    found = alike(model, encoder, 0.9).blind(0.5)
    taken = select(found, model, encoder, 10, usable=lambda i, j: (i, j) == (1, 2))
    assert (taken.i.tolist(), taken.j.tolist()) == ([1], [2])


def test_the_mend_names_thresholds_that_give_pairs() -> None:
    model, encoder = _rows(8, 60, 8), _rows(9, 60, 8)
    given = Thresholds(0.9999, -0.3)
    assert not len(alike(model, encoder, given.t1).blind(given.t2))
    other = other_thresholds(model, encoder, given)
    assert other is not None
    assert len(alike(model, encoder, other.t1).blind(given.t2)) >= 10
    assert np.isnan(other.t2)  # nothing is above so high a t1
    given = Thresholds(0.5, -0.9999)
    other = other_thresholds(model, encoder, given)
    assert other is not None
    assert len(alike(model, encoder, given.t1).blind(other.t2)) >= 10


def test_no_thresholds_help_where_both_find_everything_the_same() -> None:
    same = _at(0, 0, 0)
    assert other_thresholds(same, same, Thresholds(1.0, 0.5)) is None
