"""Folders of runs: `folder.RunFolder` owns every file of a run, `sweep_folder.SweepFolder` those of a sweep.

`lookup` finds the run that a setting names. `sweeps` and `searches` train many runs, `sequence` one after another.
"""
