"""Sweeps: `sweep` adds to Hydra what a sweep lacks there, `job` trains one job, `configurations` averages repetitions.

`killed_workers`, `orphans` and `ray_tasks` keep a sweep going when its worker processes are killed.
"""
