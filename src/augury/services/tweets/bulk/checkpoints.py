"""How far a file has been scored, kept in the store, so that a run that was killed can go on.

A checkpoint is written after the predictions of a batch are, so it never promises what is not there;
what was written after it is made again, and changes nothing, since the ledger counts each tweet
once.  It is kept under the file's path and tells what the file looked like, so that a file that has
changed meanwhile is begun anew.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

import msgspec

from augury.services.tweets.sources.archive_files import ArchiveFault
from augury.stores.base import KeyValueStore

PREFIX: Final = "tweets:bulk:"
# A run that nobody resumed within a month begins anew.
TTL_S: Final = 30 * 86_400.0
# Of each end of the file; reading all of a large one would take as long as going on from its start.
_DIGESTED_BYTES: Final = 64 * 1024
# Faults that are told one by one; the others are only counted.
MAX_FAULTS: Final = 100


class Done(msgspec.Struct, kw_only=True):
    """What has been done of a file.

    Args:
        entries: Entries read, from the file's beginning.
        scored: Tweets judged, and written.
        known: Tweets whose prediction by this model version was there before, or stands in the file
            twice.
        refused: Tweets without a prediction, because of their text.
        faulty: Entries that are no tweet.
        faults: The first 100 of the latter two.
        last_id: A tweet whose prediction was written, or was there before; 0 before the first.
    """

    entries: int = 0
    scored: int = 0
    known: int = 0
    refused: int = 0
    faulty: int = 0
    faults: list[ArchiveFault] = msgspec.field(default_factory=list)
    last_id: int = 0

    @property
    def failed(self) -> int:
        """Entries that have no prediction."""
        return self.refused + self.faulty

    def tell(self, fault: ArchiveFault) -> None:
        """Keep *fault*, if it is among the first."""
        if len(self.faults) < MAX_FAULTS:
            self.faults.append(fault)


class Checkpoint(msgspec.Struct, kw_only=True):
    """A value in the store.

    Args:
        identity: Of the file, see :func:`identity_of`.
        done: What has been done of it.
    """

    identity: str
    done: Done


_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(Checkpoint)


def checkpoint_key(path: Path, model: str, version: int) -> str:
    """Where the checkpoint of scoring *path* with a model version is kept."""
    digest = hashlib.blake2b(str(path.resolve()).encode(errors="surrogateescape"), digest_size=16)
    return f"{PREFIX}{model}:{version}:{digest.hexdigest()}"


def identity_of(path: Path) -> str:
    """What tells a file, or an archive's folder, from what it is when it has changed.

    Its size, its time of change, and a digest of its first and last 64 KiB.

    Raises:
        OSError: It cannot be read.
    """
    files = sorted(path.rglob("*.js")) if path.is_dir() else [path]
    digest = hashlib.blake2b(digest_size=16)
    for file in files:
        status = file.stat()
        name = file.name.encode(errors="surrogateescape")
        digest.update(b"%d %d %d " % (len(name), status.st_size, status.st_mtime_ns) + name)
        with file.open("rb") as stream:
            digest.update(stream.read(_DIGESTED_BYTES))
            stream.seek(max(0, status.st_size - _DIGESTED_BYTES))
            digest.update(stream.read(_DIGESTED_BYTES))
    return digest.hexdigest()


async def load_checkpoint(store: KeyValueStore, key: str) -> Checkpoint | None:
    """The checkpoint under *key*; ``None`` for none, or one that another release wrote.

    Raises:
        Unavailable: The store cannot be reached.
    """
    value = await store.get(key)
    try:
        return None if value is None else _DECODER.decode(value)
    except msgspec.MsgspecError:
        return None


async def save_checkpoint(store: KeyValueStore, key: str, checkpoint: Checkpoint) -> None:
    """Write *checkpoint*, for a month.

    Raises:
        Unavailable: The store cannot be reached.
    """
    await store.set(key, _ENCODER.encode(checkpoint), ttl_s=TTL_S)
