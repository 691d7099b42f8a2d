"""Why a message is not acted upon: one family of exceptions, caught where the routes are."""

from datetime import timedelta


class Refusal(Exception):
    """A message that says nothing we may believe. Its text is for our log and holds no payload."""


class Unreadable(Refusal):
    """Not base64, or not a box that any key of our ring opens."""


class WrongShape(Refusal):
    """An open box whose contents are not a message for this route."""


class WrongValue(WrongShape):
    """A message for this route that asks for what cannot be: a negative amount, a date that has passed."""


class Stale(Refusal):
    """A message of the right shape whose time has passed. ``age`` says how old it was."""

    def __init__(self, age: timedelta) -> None:
        super().__init__(f"the message was made {age.total_seconds():.0f} seconds ago")
        self.age = age


class FromTheFuture(Refusal):
    """A message whose timestamp is further ahead of our clock than clocks may differ."""

    def __init__(self, ahead: timedelta) -> None:
        super().__init__(f"the message's timestamp is {ahead.total_seconds():.0f} seconds ahead of our clock")
        self.ahead = ahead
