"""A real SLURM on one machine, and what facekp does on it (`tools/slurm_check.py`)."""
