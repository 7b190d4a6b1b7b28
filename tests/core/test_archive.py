"""Archives are compared with their checksums: a bit that changes what torch reads is noticed."""

import io
import pickle
import random
import zipfile

import pytest
import torch

from facekp.core.archive import DamagedArchive, check_archive, is_archive
from tests.conftest import FIXTURES


@pytest.fixture
def archive(tmp_path):
    """A small file of torch."""
    path = tmp_path / "small.pt"
    torch.save({"a": torch.arange(5.0), "b": {"c": torch.ones(3, 3, dtype=torch.int64)}, "text": "x" * 99}, path)
    return path


def test_files_of_torch_are_whole(archive):
    for path in (archive, *FIXTURES.rglob("*.ckpt")):
        assert is_archive(path)
        check_archive(path)


def test_a_name_of_other_letters_is_whole(tmp_path):
    torch.save({"a": torch.ones(2)}, tmp_path / "übung.ckpt")
    check_archive(tmp_path / "übung.ckpt")


def test_every_flipped_bit_is_noticed_or_changes_nothing(archive):
    """One bit of every byte, a random one; what is not noticed must not change what torch reads."""
    whole, chance = archive.read_bytes(), random.Random(0)
    expected = torch.load(archive, weights_only=True)
    unnoticed = 0
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << chance.randrange(8)
        archive.write_bytes(damaged)
        try:
            check_archive(archive)
        except DamagedArchive:
            continue
        unnoticed += 1
        try:
            found = torch.load(io.BytesIO(damaged), weights_only=True)
        except (RuntimeError, pickle.UnpicklingError):  # torch notices it
            continue
        assert found["text"] == expected["text"]
        assert torch.equal(found["a"], expected["a"])
        assert torch.equal(found["b"]["c"], expected["b"]["c"])
    assert unnoticed < len(whole) / 2  # the small file is mostly padding and headers


@pytest.mark.parametrize("change", ["cut", "a part of another file", "another checksum"])
def test_other_damage_is_noticed(archive, change):
    whole = archive.read_bytes()
    damaged = {
        "cut": whole[:-30],
        "a part of another file": whole[:600] + bytes(200) + whole[800:],
        "another checksum": whole[: whole.index(b"PK\1\2") + 16] + bytes(4) + whole[whole.index(b"PK\1\2") + 20 :],
    }[change]
    archive.write_bytes(damaged)
    with pytest.raises(DamagedArchive):
        check_archive(archive)


def test_a_compressed_archive_is_not_torch_s(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("data.pkl", bytes(10**6))
    with pytest.raises(DamagedArchive, match=r"data\.pkl is compressed"):
        check_archive(tmp_path / "a.zip")


def test_entries_that_share_bytes_are_refused(archive):
    """Many entries of the same bytes would take far longer to check than the file's size suggests."""
    content = bytearray(archive.read_bytes())
    entry = content.index(b"PK\1\2") + 24  # the size of the first entry in the directory
    content[entry : entry + 4] = (len(content) + 1).to_bytes(4, "little")
    archive.write_bytes(content)
    with pytest.raises(DamagedArchive, match="larger than the file"):
        check_archive(archive)
