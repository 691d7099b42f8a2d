"""How Hypothesis picks examples, in all tests.

Every run has the same examples, so that a difference between two runs comes from the code. To look for new
examples, run pytest with --hypothesis-profile explore.
"""

from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers
from hypothesis.internal.constants_ast import Constants

# How long an example takes says nothing on a busy machine.
settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("repeatable", settings.get_profile("explore"), derandomize=True)
settings.load_profile("repeatable")

# Hypothesis also tries the constants of our modules: those that were imported so far, which depends on the tests
# that have run in this process, and so on how fast they were.
vars(providers)["_get_local_constants"] = Constants
