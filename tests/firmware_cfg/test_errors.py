"""The one line that a user sees."""

from __future__ import annotations

import pytest

from firmware_cfg import errors


def test_config_error_reads_place_problem_and_mend() -> None:
    error = errors.ConfigError("a.yaml", 7, 15, "unknown key x", "did you mean y?")
    assert str(error) == "a.yaml:7:15: unknown key x (did you mean y?)"


def test_config_error_of_a_whole_file_has_no_line() -> None:
    assert str(errors.ConfigError("a.yaml", 0, 0, "cannot be read")) == "a.yaml: cannot be read"


def test_config_errors_give_one_line_each_in_order() -> None:
    first = errors.ConfigError("a.yaml", 1, 2, "one")
    second = errors.ConfigError("a.yaml", 3, 4, "two")
    both = errors.ConfigErrors([first, second])
    assert both.errors == (first, second)
    assert str(both) == "a.yaml:1:2: one\na.yaml:3:4: two"


def test_config_errors_are_never_empty() -> None:
    with pytest.raises(ValueError, match="at least one"):
        errors.ConfigErrors([])


def test_missing_extra_names_what_to_install() -> None:
    line = str(errors.MissingExtra("onnxruntime", extra="onnxruntime"))
    assert line == "onnxruntime is not installed (run: pip install 'remoteclip-edge[onnxruntime]')"


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.UsageError, 2),
        (errors.ConfigErrors, 1),
        (errors.SourceError, 1),
        (errors.BundleError, 1),
        (errors.EngineError, 1),
        (errors.BrokerError, 1),
        (errors.OutboxError, 1),
        (errors.MissingExtra, 1),
    ],
)
def test_every_error_is_expected_and_has_an_exit_code(kind: type[errors.RemoteclipError], code: int) -> None:
    assert issubclass(kind, errors.RemoteclipError)
    assert kind.exit_code == code
