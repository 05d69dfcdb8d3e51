"""Regions and pointings of an astrometric fit, in the place of computed ones."""
