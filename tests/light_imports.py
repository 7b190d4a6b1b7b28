"""Imports torchmetrics as `facekp.train` does, which saves each process of the tests some seconds."""

from facekp.training.light_torchmetrics import import_torchmetrics

import_torchmetrics()
