"""Exporting a checkpoint: `run` does what ``facekp.export`` is asked for, `graph` is the module that is exported."""
