"""Why a message is refused: one family of exceptions, which the views catch."""

from datetime import timedelta


class Refusal(Exception):
    """A message that we may not act on. Its text is for the log and contains no payload."""


class Unreadable(Refusal):
    """Not base64, or not a box that one of our keys opens."""


class WrongShape(Refusal):
    """The contents of a box are not a message for this route."""


class WrongValue(WrongShape):
    """A message asks for something impossible: a negative amount, a date that has passed."""


class Stale(Refusal):
    """A message of the right shape is too old. ``age`` says how old."""

    def __init__(self, age: timedelta) -> None:
        super().__init__(f"the message was made {age.total_seconds():.0f} seconds ago")
        self.age = age


class FromTheFuture(Refusal):
    """A message's timestamp is further ahead of our clock than clocks may differ."""

    def __init__(self, ahead: timedelta) -> None:
        super().__init__(f"the message's timestamp is {ahead.total_seconds():.0f} seconds ahead of our clock")
        self.ahead = ahead
