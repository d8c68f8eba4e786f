"""Everything Epochal raises, in one tree.

EpochalError
├── UsageError                 the caller asked for something that cannot be (also a ValueError)
├── NotFoundError              no such run, series, film or folder (also a LookupError)
├── StoreError                 the files of a run
│   ├── DamagedError           bytes that cannot be read; what can be is still readable
│   ├── FormatVersionError     written by a newer Epochal
│   ├── RunExistsError         a run of this id is there already
│   ├── StorageFullError       the disk is full or read-only
│   └── RemoteError            an object store that refuses, does not answer, or has no such bucket
├── NetworkError               a recorded network
│   ├── UntrustedNetworkError  the file could run code when loaded
│   └── NetworkMissingError    no network was recorded, or it cannot be rebuilt
├── DivergedError             a loss is not finite, and the training was asked to end then
├── MissingExtraError          an optional package is needed (also an ImportError)
└── PictureError               a picture or film file cannot be made

EpochalWarning (a UserWarning)
└── RecordingWarning           recording went on, something was not recorded
"""

from __future__ import annotations

__all__ = [
    "DamagedError",
    "DivergedError",
    "EpochalError",
    "EpochalWarning",
    "FormatVersionError",
    "MissingExtraError",
    "NetworkError",
    "NetworkMissingError",
    "NotFoundError",
    "PictureError",
    "RecordingWarning",
    "RemoteError",
    "RunExistsError",
    "StorageFullError",
    "StoreError",
    "UntrustedNetworkError",
    "UsageError",
]


class EpochalError(Exception):
    """Base of all errors of Epochal.

    `message` says what was asked, expected and found; `hint` says what to do (may be empty);
    `code` is the stable word for the error that the server sends to the Studio.
    """

    code = "error"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  hint: {self.hint}" if self.hint else self.message


class UsageError(EpochalError, ValueError):
    """The caller asked for something that cannot be."""

    code = "usage"


class NotFoundError(EpochalError, LookupError):
    """There is no such run, series, film or folder."""

    code = "not_found"


class StoreError(EpochalError):
    """The files of a run cannot be used as asked."""

    code = "store"


class DamagedError(StoreError):
    """Bytes on disk cannot be read as what they should be."""

    code = "damaged"


class FormatVersionError(StoreError):
    """The run was written by a newer version of Epochal."""

    code = "format_version"


class RunExistsError(StoreError):
    """A run of this id is there already and the caller did not ask to continue it."""

    code = "run_exists"


class StorageFullError(StoreError):
    """Nothing more can be written: the disk is full or read-only."""

    code = "storage_full"


class RemoteError(StoreError):
    """An object store refuses, does not answer, or has no such bucket."""

    code = "remote"


class NetworkError(EpochalError):
    """A recorded network cannot be used as asked."""

    code = "network"


class UntrustedNetworkError(NetworkError):
    """The network file holds something that could run code when it is loaded."""

    code = "untrusted_network"


class NetworkMissingError(NetworkError):
    """No network was recorded, or it cannot be rebuilt."""

    code = "network_missing"


class DivergedError(EpochalError):
    """A loss is not a finite number any more, and the training was asked to end then."""

    code = "diverged"


class MissingExtraError(EpochalError, ImportError):
    """An optional package is needed for this."""

    code = "missing_extra"


class PictureError(EpochalError):
    """A picture or film file cannot be made from this."""

    code = "picture"


class EpochalWarning(UserWarning):
    """Base of all warnings of Epochal."""


class RecordingWarning(EpochalWarning):
    """Recording went on, but something was not recorded."""
