"""Which of CyberSource's free texts may be kept: they can quote what the customer typed (cybersource.md §4.8).

Only a text that is known word for word cannot be about a person. The sealed response has every other one.
"""

# In the place of what may be about a person.
WITHHELD = "(withheld)"

MESSAGES = frozenset(
    {
        "",
        "Request was processed successfully.",  # §4.4
        "The consumer cancelled the transaction",  # of CANCEL, in the published fixtures of §4.3
    }
)


def known_message(message: str) -> str:
    """The message of a response if it is one of CyberSource's, or else WITHHELD."""
    message = message.strip()
    return message if message in MESSAGES else WITHHELD
