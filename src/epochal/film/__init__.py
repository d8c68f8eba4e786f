"""Films: arrays over training steps, and how they are saved."""

from epochal.film.film import Film, FilmKind
from epochal.film.words import caption, captions

__all__ = ["Film", "FilmKind", "caption", "captions"]
