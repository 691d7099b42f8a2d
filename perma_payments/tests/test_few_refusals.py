"""However many requests are refused, the log stays short."""

import logging

import pytest

from perma_payments.logs import FewRefusals, NoValuesFormatter, refusal

MINUTE = 1_800_000_000.0


@pytest.fixture
def logged():
    """What the log shows of a line that is written many times; keyword arguments go with each."""
    few, formatter = FewRefusals(), NoValuesFormatter("%(message)s")

    def logged(times: int, *, name: str = "perma_payments.views", seconds: float = 0.0, **extra) -> list[str]:
        lines = []
        for _ in range(times):
            record = logging.makeLogRecord({"name": name, "msg": "refused: %s", "args": ("100%",), **extra})
            record.created = MINUTE + seconds
            if few.filter(record):
                lines.append(formatter.format(record))
        return lines

    return logged


def test_the_log_shows_the_first_refusals_of_a_minute_and_every_hundredth(logged):
    shown = logged(250, **refusal("callback"))
    assert shown[:9] == ["refused: 100%"] * 9
    assert shown[9:] == [f"refused: 100% ({count} like this in this minute)" for count in (10, 100, 200)]


def test_each_minute_begins_anew(logged):
    assert len(logged(50, **refusal("callback"))) == 10
    assert len(logged(50, seconds=59.9, **refusal("callback"))) == 1
    assert len(logged(50, seconds=60, **refusal("callback"))) == 10


def test_one_kind_does_not_hide_another(logged):
    logged(50, **refusal("return"))
    logged(50, name="django.request", status_code=404)
    assert len(logged(1, **refusal("callback"))) == 1
    assert len(logged(1, name="django.request", status_code=405)) == 1
    assert len(logged(1, name="django.security.csrf", status_code=404)) == 1


@pytest.mark.parametrize("status", [400, 403, 404, 405, 429, 499])
def test_what_django_says_of_refusals_is_limited_too(logged, status):
    assert len(logged(50, name="django.request", status_code=status)) == 10


@pytest.mark.parametrize("extra", [{}, {"status_code": 500}, {"status_code": 503}, {"status_code": 302}], ids=str)
def test_nothing_else_is_limited(logged, extra):
    assert logged(50, **extra) == ["refused: 100%"] * 50
