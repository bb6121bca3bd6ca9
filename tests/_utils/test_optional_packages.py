"""A missing package is said with the command that installs it."""

from __future__ import annotations

import pytest

from fairfix._utils.optional_packages import needed_for
from fairfix.errors import FairfixError, UsageError


def test_a_missing_package_is_a_usage_error_and_an_import_error() -> None:
    said = (
        "^Reading x needs the package no-such; install it with pip install 'fairfix\\[extra\\]'.$"
    )
    with (
        pytest.raises(UsageError, match=said) as raised,
        needed_for("Reading x", "no-such", "extra"),
    ):
        import no_such  # noqa: F401
    assert isinstance(raised.value, ImportError)
    assert isinstance(raised.value, FairfixError)
    assert raised.value.exit_code == 2


def test_other_errors_pass() -> None:
    with pytest.raises(ZeroDivisionError), needed_for("Reading x", "no-such", "extra"):
        _ = 1 / 0
