"""What all tests share."""

from hypothesis import settings

# A busy machine takes its time; a property is not wrong for that.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
