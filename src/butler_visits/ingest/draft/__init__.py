"""A draft of an instrument description, from the headers of one camera with one detector.

`frames` reads the files; `exposure`, `pointing`, `site`, `rotation` and `camera` each decide some keys of the
description from what all frames say, and note what they are not sure of; `text` writes it down, and tries it on
the files.
"""

from .text import Draft, draft_description

__all__ = ["Draft", "draft_description"]
