"""Random lives: whatever happens in whatever order, those who paid have it, and the history says why."""

import pytest
from django.test import Client
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from .machine import Lives

# Lives, and the most events in each.
SMALL, LARGE = (40, 25), (1000, 50)


@pytest.mark.django_db
def test_those_who_paid_have_it_whatever_happens(client: Client) -> None:
    explores = settings.get_current_profile_name() == "explore"
    examples, steps = LARGE if explores else SMALL
    size = settings(max_examples=examples, stateful_step_count=steps)
    run_state_machine_as_test(lambda: Lives(client), settings=size)
