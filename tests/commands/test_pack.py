"""`facekp.pack`: writes a smaller checkpoint with the decoder and offsets given."""

import pytest

from facekp.core.errors import UserError
from facekp.models.checkpoint import load_checkpoint
from facekp.pack import main
from tests.conftest import composed


def test_the_command_packs_with_another_decoder_and_offsets(ckpt, tmp_path):
    out = tmp_path / "packed.ckpt"
    given = ["half=true", "decoder=mean", "decoder.flip=true", "offsets={sparse: 1}"]
    assert main(composed(f"ckpt={ckpt}", f"out={out}", *given, name="pack")) == out
    model = load_checkpoint(out).model
    assert (model.decoder.rule, model.decoder.flip) == ("mean", True)
    assert model.offsets == {"sparse": 1.0}
    assert out.stat().st_size < ckpt.stat().st_size / 3


def test_an_unknown_source_of_an_offset_is_refused(ckpt, tmp_path):
    with pytest.raises(UserError, match="hand"):
        main(composed(f"ckpt={ckpt}", f"out={tmp_path / 'x.ckpt'}", "offsets={hand: 1}", name="pack"))


def test_an_offset_larger_than_the_image_is_refused_as_no_command_could_load_the_file(ckpt, tmp_path):
    out = tmp_path / "x.ckpt"
    with pytest.raises(UserError, match=r"^offsets\.sparse=-97\.0: must be pixels, at most the image's side of 96$"):
        main(composed(f"ckpt={ckpt}", f"out={out}", "offsets={sparse: -97}", name="pack"))
    assert not out.exists()
