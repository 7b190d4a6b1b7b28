"""Which epochs were validated, as a training with ``check_val_every_n_epoch=2`` sees them."""

from pytorch_lightning import Trainer
from pytorch_lightning.demos.boring_classes import BoringModel

from facekp.runs.validated_epoch import ValidatedEpoch


class Recorder(ValidatedEpoch):
    def __init__(self):
        self.epochs = []

    def on_train_epoch_end(self, trainer, pl_module):
        self.epochs.append(self.validated)


def test_only_validated_epochs_are_marked(tmp_path):
    recorder = Recorder()
    Trainer(
        max_epochs=5,
        check_val_every_n_epoch=2,
        limit_train_batches=1,
        limit_val_batches=1,
        num_sanity_val_steps=0,
        callbacks=[recorder],
        default_root_dir=tmp_path,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
    ).fit(BoringModel())
    assert recorder.epochs == [False, True, False, True, False]
