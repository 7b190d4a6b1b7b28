"""Networks that predict heatmaps. `base` has their base class and registry, `hourglass` the default network."""
