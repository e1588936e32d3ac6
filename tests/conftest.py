"""How property tests run: the same examples every time, and no deadline on a machine that may be busy."""

from hypothesis import HealthCheck, settings

settings.register_profile("repository", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("repository")
