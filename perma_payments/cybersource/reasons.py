"""What CyberSource's reason codes mean, in plain words (cybersource.md §4.5)."""

from collections.abc import Mapping
from types import MappingProxyType

_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "100": "successful",
        "101": "required fields were missing",
        "102": "a field held invalid data",
        "104": "the same checkout was sent twice within 15 minutes; the earlier one may have been processed",
        "110": "only part of the amount was approved",
        "150": "CyberSource's system failed; the charge may exist",
        "151": "CyberSource's server timed out; the charge may exist",
        "152": "a service behind CyberSource timed out; the charge may exist",
        "200": "the bank approved, but the billing address did not match",
        "201": "the bank wants a phone call before it decides",
        "202": "the card has expired, or its expiration date was wrong",
        "203": "the bank declined without saying why",
        "204": "the account does not have enough money",
        "205": "the card is reported stolen or lost",
        "207": "the bank could not be reached",
        "208": "the card is inactive, or not allowed for payments online",
        "210": "the card's credit limit is reached",
        "211": "the card's security code was wrong",
        "221": "the customer is on the processor's negative list",
        "222": "the account is frozen",
        "230": "the bank approved, but the card's security code did not match",
        "231": "the card number is invalid",
        "232": "the processor does not accept this type of card",
        "233": "the processor declined",
        "234": "something is wrong in our merchant configuration at CyberSource",
        "236": "the processor failed",
        "240": "the card type is invalid, or does not match the number",
        "475": "the payer must be authenticated first (3-D Secure)",
        "476": "the payer could not be authenticated (3-D Secure)",
        "478": "strong customer authentication is required",
        "480": "held for review by CyberSource's Decision Manager",
        "481": "refused by the settings of our profile or of Decision Manager",
        "520": "the bank approved, but our Decision Manager settings refused",
    }
)


def explain(reason_code: str) -> str:
    """A reason code in words. New codes may appear at any time, so an unknown one is quoted."""
    if not reason_code:
        return "no reason given"
    return _WORDS.get(reason_code, f"a reason we don't know ({reason_code})")
