"""The alert rule language."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_cfg.rules import (
    MAX_COMPARISONS,
    Comparison,
    Rule,
    RuleSyntaxError,
    Term,
    parse_located,
    parse_rule,
)

rule_names = st.from_regex(r"[a-z0-9_-]{1,12}", fullmatch=True).filter(
    lambda name: name not in {"and", "or", "in", "out", "not", "count", "unique", "score", "crossing"}
)
rule_terms = st.one_of(
    st.sampled_from([Term("count"), Term("unique")]),
    rule_names.map(lambda name: Term("count_in", name)),
    st.builds(
        lambda name, way: Term("crossing", name, way), rule_names, st.sampled_from([None, "in", "out"])
    ),
)
rule_operators = st.sampled_from([">=", ">", "<=", "<", "=="])
rule_comparisons = st.one_of(
    st.builds(Comparison, rule_terms, rule_operators, st.floats(0, 1e300) | st.integers(0, 10**6).map(float)),
    st.builds(Comparison, st.just(Term("score")), rule_operators, st.floats(0, 1)),
)
rules = (
    st.lists(st.lists(rule_comparisons, min_size=1, max_size=4).map(tuple), min_size=1, max_size=4)
    .filter(lambda clauses: sum(map(len, clauses)) <= MAX_COMPARISONS)
    .map(lambda clauses: Rule(tuple(clauses)))
)


def rule_or_error(text: str) -> tuple[Rule | None, RuleSyntaxError | None]:
    try:
        return parse_rule(text), None
    except RuleSyntaxError as error:
        return None, error


@given(rules)
def test_a_rule_reads_back_from_its_text(rule: Rule) -> None:
    assert parse_rule(str(rule)) == rule


@given(rules, st.data())
def test_the_negation_holds_exactly_when_the_rule_does_not(rule: Rule, data: st.DataObject) -> None:
    numbers = [c.number for clause in rule.any_of for c in clause]
    values = {
        term: data.draw(st.sampled_from(numbers) | st.floats(0, 2e300), label=str(term))
        for term in rule.terms
    }
    assert rule.negated().holds(values.__getitem__) is not rule.holds(values.__getitem__)


@given(rules)
def test_the_negation_reads_the_same_terms_and_shares_no_value(rule: Rule) -> None:
    assert set(rule.negated().terms) == set(rule.terms)
    assert rule.common_value(rule.negated()) is None


@given(st.text(max_size=60) | st.text("countiquescrgadolv_-<>=0123456789. ", max_size=60))
def test_any_text_is_a_rule_or_an_error_with_a_column_inside_it(text: str) -> None:
    rule, error = rule_or_error(text)
    if error is not None:
        assert 1 <= error.column <= len(text) + 1
        assert "\n" not in error.problem
    else:
        assert parse_rule(str(rule)) == rule


@given(
    st.lists(
        st.sampled_from(
            ["count", "score", "in", "out", "gate", "and", "or", "crossing", ">=", "<", "1", "0.5"]
        )
    )
)
def test_words_in_any_order_never_do_worse_than_an_error(words: list[str]) -> None:
    text = " ".join(words)
    rule, error = rule_or_error(text)
    if error is not None:
        assert 1 <= error.column <= len(text) + 1
    else:
        assert parse_rule(str(rule)) == rule


def test_and_binds_tighter_than_or() -> None:
    rule = parse_rule("count >= 5 or unique > 9 and score >= 0.5")
    assert [len(clause) for clause in rule.any_of] == [1, 2]
    values = {Term("count"): 0.0, Term("unique"): 10.0, Term("score"): 0.4}
    assert not rule.holds(values.__getitem__)
    assert rule.holds({**values, Term("score"): 0.5}.__getitem__)
    assert rule.holds({**values, Term("count"): 5.0}.__getitem__)


@pytest.mark.parametrize(
    ("text", "term"),
    [
        ("count>=5", Term("count")),
        ("  COUNT >= 5  ", Term("count")),
        ("count in 2nd-gate >= 5", Term("count_in", "2nd-gate")),
        ("crossing road >= 5", Term("crossing", "road")),
        ("crossing road In >= 5", Term("crossing", "road", "in")),
        ("crossing road out >= 5", Term("crossing", "road", "out")),
    ],
)
def test_terms(text: str, term: Term) -> None:
    assert parse_rule(text) == Rule(((Comparison(term, ">=", 5.0),),))


@pytest.mark.parametrize(
    ("operator", "holds_at"),
    [(">=", (5, 6)), (">", (6,)), ("<=", (4, 5)), ("<", (4,)), ("==", (5,))],
)
def test_operators(operator: str, holds_at: tuple[int, ...]) -> None:
    rule = parse_rule(f"count {operator} 5")
    assert tuple(n for n in (4, 5, 6) if rule.holds(lambda _, n=n: float(n))) == holds_at


@pytest.mark.parametrize(
    ("text", "column", "problem", "mend"),
    [
        ("", 1, "the rule ends here", "terms: count"),
        ("cuont >= 5", 1, "unknown term 'cuont'", "did you mean count?"),
        ("count => 5", 7, "got '=>'", "write >="),
        ("count = 5", 7, "got '='", "write =="),
        ("count ≥ 5", 7, "got '≥'", "write >="),
        ("count", 6, "the rule ends here", "use one of"),
        ("count >=", 9, "needs a number here, the rule ends here", ""),
        ("count >= five", 10, "got 'five'", ""),
        ("count >= 5m", 10, "got '5m'", ""),
        ("count >= -1", 10, "must not be negative", ""),
        ("count >= 1" + "0" * 400, 10, "too large", ""),
        ("score > 35", 9, "0 to 1, got 35", ""),
        ("count > 1 && unique > 2", 11, "got '&&'", "write and"),
        ("count > 1 unique > 2", 11, "got 'unique'", ""),
        ("count > 1 or", 13, "the rule ends here", "terms: count"),
        ("(count > 1)", 1, "no brackets", "`and` binds tighter"),
        ("count in > 1", 10, "needs a zone's name", "count in ZONE"),
        ("crossing in > 1", 10, "needs a line's name", "crossing LINE"),
        (" or ".join(["count > 1"] * 9), 105, "more than 8 comparisons", "several alerts"),
    ],
)
def test_errors_point_into_the_rule_and_say_how_to_mend_it(
    text: str, column: int, problem: str, mend: str
) -> None:
    with pytest.raises(RuleSyntaxError) as caught:
        parse_rule(text)
    assert caught.value.column == column
    assert problem in caught.value.problem
    assert mend in caught.value.mend


def test_located_terms_give_the_column_of_the_name() -> None:
    columns = [
        column for _, column in parse_located("count in gate > 1 and unique > 2 or crossing road > 3")[1]
    ]
    assert columns == [10, 23, 46]


@pytest.mark.parametrize(
    ("when", "clear", "value"),
    [
        ("count >= 5", "count < 8", 5),
        ("count >= 5", "count < 5", None),
        ("count > 5", "count < 6", None),  # counts are whole numbers
        ("score > 0.5", "score < 0.6", 0.55),
        ("score >= 0.5", "score < 0.5", None),
        ("count >= 5 or count < 1", "count == 0", 0),
        ("count >= 5", "score < 0.5", None),  # two terms: nothing is known about both
        ("count in gate >= 5", "count < 8", None),
    ],
)
def test_a_value_at_which_two_rules_hold(when: str, clear: str, value: float | None) -> None:
    assert parse_rule(when).common_value(parse_rule(clear)) == (
        value if value is None else pytest.approx(value)
    )
