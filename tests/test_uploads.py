"""Uploads on disk: what is written is read, bounds for one user and for all, and files without a name."""

import asyncio
import os
from pathlib import Path

import pytest

from chathub.disk import Disk
from chathub.errors import DiskLow
from chathub.limits.uploads import PIECE, TooManyUploads, Upload, Uploads, UploadsFull

LARGEST = 3 * PIECE


def uploads(folder: Path, free: int = 10**9) -> Uploads:
    return Uploads(folder, Disk(folder, 1_000, lambda _: free), LARGEST)


def descriptors() -> int:
    return len(os.listdir("/dev/fd"))


async def until_closed(before: int) -> None:
    async with asyncio.timeout(30):
        while descriptors() > before:
            await asyncio.sleep(0.01)


async def filled(space: Uploads, user_id: int, size: int) -> Upload:
    upload = space.begin(user_id)
    await upload.write(bytes(size))
    return upload


async def test_what_is_written_is_read_and_leaves_no_file(tmp_path: Path) -> None:
    before, space = descriptors(), uploads(tmp_path)
    upload, data = space.begin(1), os.urandom(2 * PIECE + 17)
    for start in range(0, len(data), 1_000):
        await upload.write(data[start : start + 1_000])
    await upload.flush()
    assert os.listdir(tmp_path) == []
    assert await upload.read(PIECE - 5, 1_000) == data[PIECE - 5 : PIECE + 995]
    assert await upload.read(len(data) - 3, 100) == data[-3:]
    assert (upload.size, space.used) == (len(data), len(data))
    upload.close()
    assert space.used == 0
    await until_closed(before)
    space.close()


async def test_one_user_leaves_room_for_others(tmp_path: Path) -> None:
    space = uploads(tmp_path)
    first = await filled(space, 1, LARGEST)
    second = await filled(space, 1, LARGEST)
    with pytest.raises(TooManyUploads):
        await second.write(b"x")
    second.close()
    others = [await filled(space, user, LARGEST) for user in (2, 3)]
    last = await filled(space, 4, LARGEST)
    with pytest.raises(UploadsFull):
        await last.write(b"x")
    for upload in (first, *others, last):
        upload.close()
    assert space.used == 0
    space.close()


async def test_a_low_disk_takes_no_upload(tmp_path: Path) -> None:
    left = 10**9
    disk = Disk(tmp_path, 1_000, lambda _: left)
    space = Uploads(tmp_path, disk, LARGEST)
    upload = await filled(space, 1, 10)
    left = 999
    await disk.measure()
    with pytest.raises(DiskLow):
        await upload.write(b"x")
    with pytest.raises(DiskLow):
        space.begin(2)
    upload.close()
    space.close()


async def test_a_folder_that_cannot_be_written_is_an_error_with_a_status(tmp_path: Path) -> None:
    space = uploads(tmp_path / "missing")
    upload = space.begin(1)
    with pytest.raises(DiskLow):
        await upload.write(bytes(PIECE))
    upload.close()
    assert space.used == 0
    space.close()


async def test_a_file_that_is_closed_while_it_is_written_stays_closed(tmp_path: Path) -> None:
    """A cancelled request must not write into a descriptor that belongs to another file by then."""
    before, space = descriptors(), uploads(tmp_path)
    for _ in range(20):
        upload = space.begin(1)
        writing = asyncio.ensure_future(upload.write(bytes(LARGEST)))
        await asyncio.sleep(0)
        writing.cancel()
        upload.close()
        with pytest.raises(asyncio.CancelledError):
            await writing
    await until_closed(before)
    assert space.used == 0 and os.listdir(tmp_path) == []
    space.close()
