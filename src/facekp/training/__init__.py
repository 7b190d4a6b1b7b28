"""Training one network: `run` does what ``facekp.train`` is asked for, `setup.train` trains.

- The start: `settings`, `dataset`, `initial`, `distillation`, `resume`, `rerun`, `learning_rate`.
- Steps: `estimator`, `optim`, `step_graph`, `compilation`, `trainer`.
- Beside the steps: `observers` builds `callbacks` and `loggers`.
- The end: `ending`, `label_offsets`.
"""
