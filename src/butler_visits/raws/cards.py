"""Headers with cards that cannot be read: they count as missing, with a warning that names them."""

from __future__ import annotations

import logging
import re
from collections import ChainMap
from collections.abc import Iterable
from typing import Any

from astropy.io import fits

from .frames import is_unknown

_LOG = logging.getLogger(__name__)

_COMMENTS = ("COMMENT", "HISTORY", "", "CONTINUE", "END")

_COMMENT = re.compile(r"(?<![Nn])/")
"""Where a comment begins, which is not in N/A."""

_LONGEST = 60
"""Characters of a card that a message shows."""


def card_text(card: fits.Card) -> str:
    """Return what stands where a card's value should be."""
    image = _image(card)
    text = image[8:] if image[8:10] == "= " or "=" not in image else image[image.index("=") :]
    text = " ".join(text.removeprefix("=").split())
    text = text if text.startswith("'") else _COMMENT.split(text)[0].strip()
    return _shortened(text)


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _image(card: fits.Card) -> str:
    # Card.image would mend the card, and fail where it cannot.
    return str(card._image or "")


class RawHeader(fits.Header):
    """A header in which cards that cannot be read are not there."""

    label = ""
    """What it is called in messages."""

    def __init__(self, cards: Iterable[Any] = (), copy: bool = False) -> None:
        super().__init__(cards, copy)
        self.problems: dict[str, str] = {}
        """What is wrong with the cards that were asked for and cannot be read, by their keywords."""

    def __contains__(self, keyword: object) -> bool:
        if not super().__contains__(keyword):
            return False
        try:
            self[keyword]
        except KeyError:
            return False
        return True

    def __getitem__(self, key: Any) -> Any:
        if not isinstance(key, str) or key.strip().upper() in _COMMENTS:
            return super().__getitem__(key)
        if key in self.problems:
            raise KeyError(key)
        try:
            value = super().__getitem__(key)
        except KeyError:
            raise
        except Exception:
            # A damaged card is a VerifyError, and where the parser stumbles over it anything.
            value, is_readable = None, False
        else:
            is_readable = not isinstance(value, str) or self._has_value(key)
            if type(value) is int and value == 0 and card_text(self.cards[key]).startswith("-"):
                # Degrees whose minutes are in another card; an integer has no sign.
                value = -0.0
        if is_readable:
            return value
        text = card_text(self.cards[key])
        if not is_unknown(text):
            self._refuse(key, f"card {key} cannot be read: {text!r}")
        raise KeyError(key)

    def refuse_repeated(self, key: str) -> None:
        """Let a keyword count as missing that is there several times, with different values."""
        if key in self.problems or self.count(key) < 2 or key.strip().upper() in _COMMENTS:
            return
        try:
            texts = list(dict.fromkeys(repr(self[key, index]) for index in range(self.count(key))))
        except fits.VerifyError:
            texts = [card_text(card) for card in self.cards if card.keyword == key]
        if len(texts) > 1:
            values = ", ".join(map(_shortened, texts))
            self._refuse(key, f"card {key} is there {self.count(key)} times, with different values: {values}")

    def _refuse(self, key: str, problem: str) -> None:
        self.problems[key] = problem
        _LOG.warning("%s: %s; it counts as missing.", self.label, problem)

    def _has_value(self, key: str) -> bool:
        """Tell whether a card has the equals sign without which FITS has no value; astropy returns its text."""
        image = _image(self.cards[key])
        return not image or image.startswith("HIERARCH") or image[8:10] == "= "


class MergedHeader(ChainMap[str, Any]):
    """An HDU's header and, where it lacks a keyword, the first HDU's; what is set stays here."""

    @property
    def problems(self) -> dict[str, str]:
        """What is wrong with cards that were asked for and cannot be read, by their keywords."""
        return {key: text for one in self.maps for key, text in getattr(one, "problems", {}).items() if key not in self}

    def refuse_repeated(self, key: str) -> None:
        """Let a keyword count as missing that the header which has it has several times, with different values."""
        header = next((one for one in self.maps if key in one), None)
        if isinstance(header, RawHeader):
            header.refuse_repeated(key)
