"""Fixtures for tests of what happens when somebody else is at it."""
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
from django.db import connection, transaction

from perma_payments.models import SubscriptionAgreement


@pytest.fixture
def impatient(transactional_db: None) -> Iterator[None]:
    """The test's own connection waits for locks only a moment."""
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = 200")
        yield
        cursor.execute("RESET lock_timeout")


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
