"""Searches with Optuna: `search` draws trials and launches them as jobs, `pruning` ends a job that falls behind."""
