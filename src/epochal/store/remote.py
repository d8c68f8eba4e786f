"""An object store, such as S3: whole objects by name, put, got and listed. The rest of Epochal knows folders only.

Address and access come from where all programs take them, the AWS_* variables, and go nowhere else: no error says
what a server answered but its code, since some answer with the name of the key that was refused.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

from epochal.errors import MissingExtraError, RemoteError, UsageError

__all__ = ["Entry", "Remote", "endpoint", "is_remote", "parse_address", "safe_parts"]

SCHEME = "s3://"
CONNECT_SECS = 3
REQUEST_SECS = 10
TRANSFER_SECS = 900
"""How long a small request, and one with a large body, may take."""
RETRIES = 2
RETRY_SECS = 8
DELETE_AT_ONCE = 500
PART_BYTES = 1 << 20

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_CODE = re.compile(r"<Code>(\w{1,60})</Code>")
_STATUS = re.compile(r"status code: (\d{3}[ \w]*)")
_REFUSED = re.compile(
    r"AccessDenied|InvalidAccessKeyId|InvalidClientTokenId|SignatureDoesNotMatch|ExpiredToken|InvalidToken|\b40[13]\b"
)
_UNSAFE = re.compile(r'[\x00-\x1f\x7f\\:*?"<>|]')
_PART_LIMIT = 250
_DEPTH_LIMIT = 24


def is_remote(place: str | os.PathLike[str] | None) -> bool:
    """Say whether a place is an address of an object store."""
    return isinstance(place, str) and place.startswith(SCHEME)


def parse_address(address: str) -> tuple[str, str]:
    """Return bucket and prefix (perhaps empty) of `s3://bucket/prefix`; raises UsageError."""
    bucket, _, prefix = address.removeprefix(SCHEME).partition("/")
    parts = prefix.rstrip("/").split("/") if prefix.rstrip("/") else []
    if not address.startswith(SCHEME) or not _BUCKET.fullmatch(bucket):
        raise UsageError(f"{address!r} names no bucket", hint="write s3://bucket/prefix")
    if any(part in ("", ".", "..") or _UNSAFE.search(part) for part in parts):
        raise UsageError(
            f"{address!r} is no address of a store", hint="write s3://bucket/prefix, such as s3://team/runs"
        )
    return bucket, "/".join(parts)


def safe_parts(key: str) -> list[str] | None:
    """Return the parts of an object's name if it can be a file below a folder on every system, else None."""
    parts = key.split("/")
    if len(parts) > _DEPTH_LIMIT:
        return None
    for part in parts:
        if part in ("", ".", "..") or _UNSAFE.search(part) or len(part.encode("utf-8", "replace")) > _PART_LIMIT:
            return None
        if part[-1] in ". ":
            return None
    return parts


@dataclass(frozen=True, slots=True)
class Entry:
    """An object: its name below the store's prefix, its size in bytes, and a tag that changes with its content."""

    key: str
    size: int
    tag: str


class Remote:
    """The objects below `s3://bucket/prefix`. Every method may be called from any thread.

    Raises UsageError for an address that is none, MissingExtraError without obstore; every method raises RemoteError
    where the store does not answer, refuses, or has no such bucket. Retries are few: the caller knows what can wait.
    """

    def __init__(self, address: str) -> None:
        self.bucket, self.prefix = parse_address(address)
        self.address = f"{SCHEME}{self.bucket}" + (f"/{self.prefix}" if self.prefix else "")
        self._api = _obstore()
        from obstore.store import S3Store

        try:
            self._store, self._large = (self._made(S3Store, secs) for secs in (REQUEST_SECS, TRANSFER_SECS))
        except (self._api.exceptions.BaseError, ValueError) as error:
            raise RemoteError(
                f"{self.address} cannot be opened: {str(error).splitlines()[0][:200]}",
                hint="are the AWS_* variables right?",
            ) from None

    def _made(self, kind: Any, secs: int) -> Any:
        url = endpoint()
        given = {"endpoint": url} if url else {}
        return kind(
            self.bucket,
            prefix=self.prefix or None,
            client_options={
                "allow_http": url.startswith("http://"),
                "connect_timeout": f"{CONNECT_SECS}s",
                "timeout": f"{secs}s",
            },
            retry_config={
                "max_retries": RETRIES,
                "retry_timeout": timedelta(seconds=RETRY_SECS),
                "backoff": {"init_backoff": timedelta(seconds=0.2), "max_backoff": timedelta(seconds=2), "base": 2},
            },
            **given,
        )

    def __repr__(self) -> str:
        return f"Remote({self.address!r})"

    def entries(self, under: str = "") -> list[Entry]:
        """Return all objects, or those below the folder `under`, in the order of their names."""
        with self._told():
            pages = self._api.list(self._store, prefix=under or None, chunk_size=1000)
            found = [
                Entry(o["path"], int(o["size"]), str(o["e_tag"] or o["last_modified"])) for page in pages for o in page
            ]
        return sorted(found, key=lambda entry: entry.key)

    def get(self, key: str, *, tag: str | None = None) -> bytes | None:
        """Return an object; None where there is none, or where it is not the one of this `tag` any more."""
        options: Any = {"if_match": tag} if tag else None
        with self._told():
            try:
                return bytes(self._api.get(self._store, key, options=options).bytes())
            except (FileNotFoundError, self._api.exceptions.PreconditionError) as error:
                self._bucket_is_there(error)
                return None

    def fetch(self, key: str, target: Path, *, tag: str | None = None) -> bool:
        """Write an object into a file, piece by piece; say whether it was there, with this `tag` if one is given."""
        options: Any = {"if_match": tag} if tag else None
        with self._told():
            try:
                stream = self._api.get(self._large, key, options=options).stream(min_chunk_size=PART_BYTES)
            except (FileNotFoundError, self._api.exceptions.PreconditionError) as error:
                self._bucket_is_there(error)
                return False
            with target.open("wb") as file:
                for piece in stream:
                    file.write(piece)
        return True

    def put(self, key: str, data: bytes | Any) -> str:
        """Put an object in one piece, in place of one of this name, and return its tag; `data` may be an open file."""
        with self._told():
            try:
                small = isinstance(data, bytes) and len(data) <= PART_BYTES
                return str(self._api.put(self._store if small else self._large, key, data)["e_tag"])
            except FileNotFoundError as error:
                self._bucket_is_there(error)
                raise

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects; those that are not there are passed over."""
        for begin in range(0, len(keys), DELETE_AT_ONCE):
            with self._told():
                self._api.delete(self._store, list(keys[begin : begin + DELETE_AT_ONCE]))

    def check(self) -> None:
        """Raise RemoteError where the store cannot be written to and read from."""
        name = f".probe-{secrets.token_hex(4)}"
        self.put(name, b"epochal")
        if self.get(name) != b"epochal":
            raise RemoteError(f"{self.address}: what was put there is not there", hint="is it a store of the S3 kind?")
        self.delete([name])

    def _bucket_is_there(self, error: Exception) -> None:
        if "NoSuchBucket" in str(error):
            self._refuse(error)

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            self._refuse(error)
        except self._api.exceptions.BaseError as error:
            self._refuse(error)

    def _refuse(self, error: Exception) -> NoReturn:
        """Say in one sentence what is wrong with the store."""
        text = str(error).split("Debug source")[0]
        code, status = _CODE.search(text), _STATUS.search(text)
        said = code[1] if code else status[1].strip() if status else ""
        where = _without_secrets(endpoint() or "AWS")
        if "NoSuchBucket" in text:
            message, hint = f"there is no bucket {self.bucket!r} at {where}", "make it, or mend the address"
        elif isinstance(error, self._api.exceptions.InvalidPathError):
            found = re.search(r'Error parsing Path "(.{1,200}?)"', text)
            named = f" ({found[1]!r})" if found else ""
            message, hint = f"an object in it has a name that leads out of the store{named}", "delete that object"
        elif "169.254." in text:
            message = "there are no credentials: neither AWS_ACCESS_KEY_ID is set nor does this machine have a role"
            hint = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        elif _REFUSED.search(said or text):
            message = f"access was refused{f' ({said})' if said else ''}"
            hint = (
                "are AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION right, and may they read and write there?"
            )
        elif said:
            message, hint = f"the store answered {said}", "try again later"
        else:
            message = f"{where} does not answer"
            hint = "is AWS_ENDPOINT_URL right, and is the network up?"
        raise RemoteError(f"{self.address}: {message}", hint=hint) from None


def endpoint() -> str:
    """The address of the store's server, empty for Amazon's."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""


def _without_secrets(url: str) -> str:
    """An address without the name and password that may stand in it."""
    return re.sub(r"//[^/@]*@", "//", url)


def _obstore() -> Any:
    try:
        import obstore
        import obstore.exceptions
    except ImportError as error:
        raise MissingExtraError(
            "An s3:// address needs the package obstore.", hint="pip install 'epochal[s3]'"
        ) from error
    return obstore
