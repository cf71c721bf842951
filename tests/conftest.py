"""Of every test: hypothesis counts examples, not milliseconds, which on a busy machine say nothing."""

from hypothesis import settings

settings.register_profile("littoral", deadline=None, print_blob=True)
settings.load_profile("littoral")
