"""HTML pages: `report` writes one. `overview` has the page that compares runs, `labels` the page of the data."""
