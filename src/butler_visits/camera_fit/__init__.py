"""A camera fitted to raws whose geometry nobody has written down."""
