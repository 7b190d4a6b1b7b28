"""Sweeps: `sweep` adds to Hydra what a sweep lacks there, `job` trains one job, `configurations` averages repetitions.

`checks` refuses sweeps before their first job, and `finish` shows all jobs after the last one.

`killed_workers`, `orphans` and `ray_tasks` keep a sweep going when its worker processes are killed.
"""
