"""Settings of the property tests."""

from __future__ import annotations

from hypothesis import settings

# No deadline: how long an example takes says something about the machine, not about the code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
