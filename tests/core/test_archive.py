"""Archives are compared with their checksums: any bit that differs from what torch wrote is noticed."""

import io
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
            if not is_archive(archive):
                continue
            check_archive(archive)
        except DamagedArchive:
            continue
        unnoticed += 1
        try:
            found = torch.load(io.BytesIO(damaged), weights_only=True)
        except RuntimeError:  # torch notices it
            continue
        assert found["text"] == expected["text"]
        assert torch.equal(found["a"], expected["a"])
        assert torch.equal(found["b"]["c"], expected["b"]["c"])
    assert unnoticed <= 4  # two versions in the archive's end


@pytest.mark.parametrize("change", ["cut", "longer", "a byte in front", "without an entry", "a part of another file"])
def test_other_damage_is_noticed(archive, change):
    whole = archive.read_bytes()
    damaged = {
        "cut": whole[:-30],
        "longer": whole + b"\0",
        "a byte in front": b"\0" + whole,
        "without an entry": whole.replace(b"PK\1\2", b"PK\1\3", 1),
        "a part of another file": whole[:600] + bytes(200) + whole[800:],
    }[change]
    archive.write_bytes(damaged)
    with pytest.raises(DamagedArchive):
        check_archive(archive)


def test_a_compressed_archive_is_not_torch_s(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("data.pkl", bytes(10**6))
    with pytest.raises(DamagedArchive, match=r"entry of data\.pkl is wrong"):
        check_archive(tmp_path / "a.zip")
