"""HTML pages: `report` writes one. `overview` has the sections that compare runs, `labels` those that show the data."""
