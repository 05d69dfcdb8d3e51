"""An obs package as telescopes have them: it offers the translator of its camera's headers."""

from .translators import DuoCamTranslator

__all__ = ["DuoCamTranslator"]
__version__ = "1.0"
