"""CyberSource's payment tokens: each names a stored card, and charges it (cybersource.md §4.6)."""

import re

# As a column of the database may hold one: empty where there is none.
PATTERN = r"^[0-9A-Za-z]{0,32}$"
# A format-preserving token, made from the card number: it changes when the card does.
CHANGES_WITH_CARD = r"^[0-9]{16}$"


def is_token(text: str) -> bool:
    """Whether a text has the form of a token."""
    return bool(text) and re.fullmatch(PATTERN, text) is not None


def changes_with_card(token: str) -> bool:
    """Whether a token is one that changes with the card."""
    return re.fullmatch(CHANGES_WITH_CARD, token) is not None
