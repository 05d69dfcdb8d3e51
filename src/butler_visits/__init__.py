"""Define the visits of a Rubin-style data repository."""

import lazy_loader

# Names are imported when they are first used: ``butler`` imports this package at each start, for its command only.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
