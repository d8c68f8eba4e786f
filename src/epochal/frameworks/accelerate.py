"""Hugging Face Accelerate: a tracker for `Accelerator(log_with=...)`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from epochal.errors import MissingExtraError
from epochal.frameworks.session import Session, guarded
from epochal.record import Run

try:
    from accelerate.tracking import GeneralTracker
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] != "accelerate":
        raise
    raise MissingExtraError(
        "Hugging Face Accelerate is not installed.", hint='pip install "epochal[transformers]"'
    ) from None

if TYPE_CHECKING:
    Base = object
else:
    Base = GeneralTracker


class Tracker(Base):
    """Records what a script gives to `accelerator.log`: `Accelerator(log_with=Tracker("example"))`.

    With `run` all goes into a run that is there, which the user ends; else `project`, `name` and further `options`
    are those of `epochal.init`. The run begins with `accelerator.init_trackers` in the main process alone, and ends
    with `accelerator.end_training`. `accelerator.get_tracker("epochal", unwrap=True)` is the run itself: its `watch`
    takes the model.
    """

    name = "epochal"
    requires_logging_directory = False
    main_process_only = True

    def __init__(
        self,
        project: str | None = None,
        *,
        name: str | None = None,
        run: Run | None = None,
        dir: str | os.PathLike[str] | None = None,  # noqa: A002 - the word that `epochal.init` has
        **options: Any,
    ) -> None:
        super().__init__()
        self._session = Session(run, project, {"name": name, "dir": dir, **options})

    def start(self) -> None:
        """Begin the run."""
        self._session.open()

    @property
    def tracker(self) -> Run:
        """The run."""
        return self._session.open()

    @guarded
    def store_init_configuration(self, values: Mapping[str, Any]) -> None:
        """Add to the run's configuration."""
        self._session.open().set_config(values)

    @guarded
    def log(self, values: Mapping[str, Any], step: int | None = None, **kwargs: Any) -> None:
        """Record numbers and values, and let the run look at a model that it watches; `epoch=` names the epoch."""
        self._session.open().log(values, step=step, epoch=kwargs.get("epoch"))

    @guarded
    def log_images(self, values: Mapping[str, Any], step: int | None = None, **kwargs: Any) -> None:
        """Record images, or lists and batches of them, by name, with the options of `epochal.Image`."""
        from epochal.record.media import Image

        def several(images: Any) -> list[Image]:
            if len(getattr(images, "shape", ())) == 4:
                return Image.batch(images, **kwargs)
            given = images if isinstance(images, list | tuple) else [images]
            return [image if isinstance(image, Image) else Image(image, **kwargs) for image in given]

        self._session.open().aside({name: several(images) for name, images in values.items()}, step=step)

    @guarded
    def log_table(
        self,
        table_name: str,
        columns: list[str] | None = None,
        data: list[list[Any]] | None = None,
        dataframe: Any = None,
        step: int | None = None,
        **kwargs: Any,
    ) -> None:
        """Record a table."""
        from epochal.record.media import Table

        self._session.open().aside({table_name: Table(columns, data, dataframe=dataframe)}, step=step)

    @guarded
    def finish(self) -> None:
        """End the run."""
        self._session.finish()


__all__ = ["Tracker"]
