"""An example plug-in of facekp; ``plugins=[facekp_example]`` imports this module, which registers everything."""

from facekp_example import augmentation, decoder, detector, loss, metric, network, optimizer, reader, schedule, writer

__all__ = [
    "augmentation",
    "decoder",
    "detector",
    "loss",
    "metric",
    "network",
    "optimizer",
    "reader",
    "schedule",
    "writer",
]
