"""CyberSource's Business Center, as far as tests need it: the list of subscriptions that it exports."""

from perma_payments.models import SubscriptionAgreement

TOKEN = "7408214003316000008888"


def report(
    *rows: tuple[SubscriptionAgreement | str, str], token: str = TOKEN, made_on: str = "Dec 02 2026"
) -> bytes:
    """A status report: each row is a subscription and its status (cybersource.md §8.3)."""
    lines = [
        "Subscription Search Results",
        "Merchant ID: example",
        f"Date: {made_on}",
        "",
        "Subscription ID,Merchant Reference Code,Customer Name,Amount,Currency,Status",
        *(f'{token},{subject},"Example, Erin",45.00,USD,{status}' for subject, status in rows),
    ]
    return "\n".join(lines).encode()
