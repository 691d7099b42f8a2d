"""Fixtures for tests of what happens while someone else holds a lock."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
from django.db import connection, transaction

from perma_payments.models import SubscriptionAgreement
from perma_payments.postgres import base


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks are waited for only a moment."""
    monkeypatch.setattr(base, "LOCK_SECONDS", 0.2)


@pytest.fixture
def held_elsewhere() -> Callable[[SubscriptionAgreement], AbstractContextManager[None]]:
    """Hold an agreement in another connection's transaction."""

    @contextmanager
    def held(agreement: SubscriptionAgreement) -> Iterator[None]:
        is_held, is_over = threading.Event(), threading.Event()

        def hold() -> None:
            with transaction.atomic():
                SubscriptionAgreement.objects.select_for_update(no_key=True).get(pk=agreement.pk)
                is_held.set()
                is_over.wait()
            connection.close()

        thread = threading.Thread(target=hold)
        thread.start()
        is_held.wait()
        try:
            yield
        finally:
            is_over.set()
            thread.join()

    return held
