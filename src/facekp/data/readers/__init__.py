"""Readers: one module per label format. `read` picks the reader that ``data.name`` names; `base` has the registry."""
