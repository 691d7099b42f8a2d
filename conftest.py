"""How hypothesis looks for examples, in all tests.

The same examples come in every run, so that a run says something about the code alone. To look for new ones:
--hypothesis-profile explore.
"""

from hypothesis import HealthCheck, settings

# The machine that runs the tests may be busy: how long an example takes says nothing.
settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("repeatable", settings.get_profile("explore"), derandomize=True)
settings.load_profile("repeatable")
