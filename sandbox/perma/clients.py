"""The two versions of Perma.cc's client that the sandbox can play: in what they differ (perma-2026.md §2 to §7).

What they have in common is in the other modules.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class PermaClient:
    """One version of the client, named by its year.

    timeout_seconds: how long its servers wait for an answer.
    bills_on_the_first: monthly plans are charged on the 1st, and prorated until then; otherwise on the day of the
        month on which they began.
    reads_pending_change: a scheduled downgrade is read from `pending_change`, which has to be there; otherwise it
        is known by an effective timestamp in the future.
    names_registrars: `customer_name` is sent when a registrar subscribes or changes plans.
    uses_portal: Perma Payments' own pages, behind `/update/` and `/billing/`, replace the cancel button and the
        purchase history.
    return_words: what the page says to customers who come back with a parameter; any other is ignored.
    """

    year: str
    timeout_seconds: float
    bills_on_the_first: bool = False
    reads_pending_change: bool = False
    names_registrars: bool = False
    uses_portal: bool = False
    return_words: Mapping[tuple[str, str], str] = field(default_factory=dict)


CLIENTS = {
    client.year: client
    for client in (
        PermaClient(year="2024", timeout_seconds=2, bills_on_the_first=True),
        PermaClient(
            year="2026",
            timeout_seconds=3,
            reads_pending_change=True,
            names_registrars=True,
            uses_portal=True,
            return_words={
                ("subscription", "success"): "Your subscription has been created.",
                ("subscription", "canceled"): "You left the checkout. You were not charged.",
                ("purchase", "success"): "Your links have been bought.",
                ("purchase", "canceled"): "You left the checkout. You were not charged.",
                ("change", "success"): "Your change was submitted. An upgrade is charged and takes effect "
                "immediately; a downgrade takes effect with the next period.",
                ("change", "canceled"): "Your pending change was canceled. Your plan stays as it is.",
                ("update", "success"): "Your subscription settings have been updated.",
            },
        ),
    )
}
DEFAULT_CLIENT = CLIENTS["2026"]
