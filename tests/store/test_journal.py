from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from epochal.store.journal import HEADER, HEADER_SIZE, LOW_HALF, MAGIC, RECORD, JournalFile, JournalReader, copy_journal
from epochal.store.ring import Ring


def fill(journal: JournalFile, first: int, last: int) -> None:
    for seq in range(first, last + 1):
        at = HEADER_SIZE + ((seq - 1) % journal.capacity) * RECORD.size
        RECORD.pack_into(journal.buffer, at, seq % 3, seq, seq, 0.5, seq / 2, seq)


@pytest.fixture
def journal(tmp_path: Path) -> JournalFile:
    return JournalFile(tmp_path / "journal.bin", capacity=16)


def test_the_file_has_its_whole_size_on_disk_from_the_start(tmp_path: Path) -> None:
    JournalFile(tmp_path / "j").close()
    stat = (tmp_path / "j").stat()
    assert stat.st_size == 64 + 65_536 * 40
    assert stat.st_blocks * 512 >= stat.st_size, "a hole would be SIGBUS on a full disk"


@pytest.mark.parametrize("last", [0, 1, 5, 16])
def test_a_reader_sees_what_was_written(journal: JournalFile, last: int) -> None:
    fill(journal, 1, last)
    found = JournalReader(journal.path).read_after(0)
    assert found["seq"].tolist() == list(range(1, last + 1))
    assert found["v"].tolist() == [seq / 2 for seq in range(1, last + 1)]


def test_the_ring_goes_round(journal: JournalFile) -> None:
    fill(journal, 1, 40)
    reader = JournalReader(journal.path)
    assert reader.read_after(24)["seq"].tolist() == list(range(25, 41))
    assert reader.read_after(38)["seq"].tolist() == [39, 40]
    assert len(reader.read_after(40)) == 0
    assert len(reader.read_after(3)) == 0, "those records are gone: only the stream has them"
    assert journal.records(27, 40)["seq"].tolist() == list(range(27, 41))


def test_an_interrupted_call_leaves_a_gap_and_hides_nothing(journal: JournalFile) -> None:
    fill(journal, 1, 4)
    fill(journal, 6, 7)
    assert JournalReader(journal.path).read_after(0)["seq"].tolist() == [1, 2, 3, 4, 6, 7]
    assert journal.records(1, 7)["seq"].tolist() == [1, 2, 3, 4, 6, 7]


@pytest.mark.parametrize("filled", range(40))
def test_a_record_cut_off_by_the_end_of_the_process_at_any_byte_is_none(journal: JournalFile, filled: int) -> None:
    fill(journal, 1, 20)
    whole = bytearray(RECORD.size)
    RECORD.pack_into(whole, 0, 1, 21, 21, 0.5, 10.5, 21)
    at = HEADER_SIZE + 4 * RECORD.size
    journal.buffer[at : at + RECORD.size] = bytes(whole[:filled]) + bytes(RECORD.size - filled)
    found = JournalReader(journal.path).read_after(18)["seq"].tolist()
    assert found in ([19, 20], [19, 20, 21])
    assert (21 in found) == (filled > 32), "the number is the last thing written"


@pytest.mark.parametrize("front", [8, 16, 24, 32])
@pytest.mark.parametrize("older", ["zeros", "lap"])
def test_a_record_of_two_moments_is_none(journal: JournalFile, front: int, older: str) -> None:
    """A power cut may leave the page with its front as it was before, or the one with its end."""
    fill(journal, 1, 20)
    at = HEADER_SIZE + 4 * RECORD.size
    before = bytes(RECORD.size) if older == "zeros" else bytes(journal.buffer[at : at + RECORD.size])
    fill(journal, 21, 21)
    after = bytes(journal.buffer[at : at + RECORD.size])
    for torn in (before[:front] + after[front:], after[:front] + before[front:]):
        journal.buffer[at : at + RECORD.size] = torn
        assert JournalReader(journal.path).read_after(18)["seq"].tolist() == [19, 20]
        assert journal.records(19, 21)["seq"].tolist() == [19, 20]


def test_numbers_above_32_bits_are_told_apart(journal: JournalFile) -> None:
    first = 2**32 - 3
    for seq in range(first, first + 8):
        at = HEADER_SIZE + ((seq - 1) % journal.capacity) * RECORD.size
        RECORD.pack_into(journal.buffer, at, 0, seq & LOW_HALF, seq, 0.5, 1.0, seq)
    assert JournalReader(journal.path).read_after(first - 1)["seq"].tolist() == list(range(first, first + 8))


def test_a_journal_of_the_first_version_is_read(journal: JournalFile) -> None:
    HEADER.pack_into(journal.buffer, 0, MAGIC, 1, RECORD.size, journal.capacity)
    for seq in range(1, 4):
        RECORD.pack_into(journal.buffer, HEADER_SIZE + (seq - 1) * RECORD.size, 0, 0, seq, 0.5, 1.0, seq)
    assert JournalReader(journal.path).read_after(0)["seq"].tolist() == [1, 2, 3]
    HEADER.pack_into(journal.buffer, 0, MAGIC, 3, RECORD.size, journal.capacity)
    assert len(JournalReader(journal.path).read_after(0)) == 0


def test_newest_follows_the_ring_even_when_it_was_lapped(journal: JournalFile) -> None:
    reader = JournalReader(journal.path)
    assert reader.newest() == 0
    fill(journal, 1, 3)
    assert reader.newest() == 3
    fill(journal, 4, 100)
    assert reader.newest() == 100
    assert JournalReader(journal.path).newest() == 100


@pytest.mark.parametrize("damage", [b"", b"short", b"\0" * 700, b"WRONGMAG" + b"\0" * 700])
def test_a_file_that_is_no_journal_is_read_as_empty(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "j").write_bytes(damage)
    reader = JournalReader(tmp_path / "j")
    assert len(reader.read_after(0)) == 0
    assert reader.newest() == 0
    assert len(JournalReader(tmp_path / "absent").read_after(0)) == 0


def test_a_truncated_journal_gives_what_is_left(journal: JournalFile) -> None:
    fill(journal, 1, 10)
    os.truncate(journal.path, HEADER_SIZE + 3 * RECORD.size + 7)
    assert JournalReader(journal.path).read_after(0)["seq"].tolist() == [1, 2, 3]


def test_an_existing_journal_is_never_overwritten(journal: JournalFile) -> None:
    with pytest.raises(FileExistsError):
        JournalFile(journal.path)


def test_values_come_back_bit_for_bit(journal: JournalFile) -> None:
    values = np.array([np.nan, -np.nan, np.inf, -np.inf, -0.0, 5e-324, 1.7976931348623157e308])
    for seq, value in enumerate(values.tolist(), start=1):
        RECORD.pack_into(journal.buffer, HEADER_SIZE + (seq - 1) * RECORD.size, 0, seq, 0, 0.0, value, seq)
    assert JournalReader(journal.path).read_after(0)["v"].tobytes() == values.tobytes()


def test_a_copy_taken_while_numbers_are_logged_lacks_none_in_between(tmp_path: Path) -> None:
    journal = JournalFile(tmp_path / "journal.bin", capacity=4096)
    ring = Ring(journal, ids={}, intern=lambda name: 0, wake=lambda: None)
    ending = threading.Event()
    count = folded = 0

    def log() -> None:
        nonlocal count
        while not ending.is_set():
            if count - folded > 3000:  # what is not folded is never written over
                time.sleep(0)
                continue
            ring.append("loss", count, 0.0, float(count))
            count += 1
            if count % 1000 == 0:
                _, end, spilled = ring.take()
                ring.release(end, spilled)

    thread = threading.Thread(target=log)
    thread.start()
    try:
        for _ in range(300):
            before = count
            after = folded = max(0, before - 900)
            data = copy_journal(journal.path, after=after)
            assert data is not None
            (tmp_path / "copy.bin").write_bytes(data)
            copied = JournalReader(tmp_path / "copy.bin").read_after(after)
            seqs = copied["seq"].tolist()
            assert seqs == list(range(after + 1, after + 1 + len(seqs)))
            assert len(seqs) >= before - after
            assert copied["v"].tolist() == [float(seq - 1) for seq in seqs]
    finally:
        ending.set()
        thread.join()
        journal.close()


def test_a_copy_always_holds_the_newest_number(tmp_path: Path) -> None:
    journal = JournalFile(tmp_path / "journal.bin", capacity=256)
    ring = Ring(journal, ids={}, intern=lambda name: 0, wake=lambda: None)
    assert copy_journal(tmp_path / "none", after=0) is None
    for step in range(100):
        ring.append("loss", step, 0.0, 0.5)
    data = copy_journal(journal.path, after=100)
    assert data is not None
    (tmp_path / "copy.bin").write_bytes(data)
    assert JournalReader(tmp_path / "copy.bin").newest() == 100
    (tmp_path / "copy.bin").write_bytes(b"no journal at all" * 10)
    assert copy_journal(tmp_path / "copy.bin", after=0) is None
    journal.close()
