"""Words of messages that several rooms say."""

from __future__ import annotations

__all__ = ["counted"]


def counted(number: int, what: str) -> str:
    """Say how many there are of something.

    Parameters
    ----------
    number : `int`
        How many.
    what : `str`
        What one of them is called.

    Returns
    -------
    text : `str`
        As "1 visit" or "2 visits".
    """
    return f"1 {what}" if number == 1 else f"{number} {what}s"
