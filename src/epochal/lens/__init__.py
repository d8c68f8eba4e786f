"""Ways of looking inside a network: one file per way, a network in and pictures or films out."""

from epochal.lens.class_images import ClassImages, class_images
from epochal.lens.films import film, recorded_class_images

__all__ = ["ClassImages", "class_images", "film", "recorded_class_images"]
