"""The four kinds of checkout that a customer can be sent to CyberSource for."""

from enum import StrEnum


class Kind(StrEnum):
    """What a transaction is for."""

    SUBSCRIBE = "subscribe"
    CHANGE = "change"
    UPDATE = "update"
    PURCHASE = "purchase"
