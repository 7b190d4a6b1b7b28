"""What people look at: pages (`html`), pictures, tables, `bench`, the W&B dashboard.

`evaluation`, `calibration`, `ladder` and `ablation` do the work of the commands ``evaluate``, ``calibrate`` and so on.
"""
