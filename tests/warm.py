"""Does once what most commands of the tests do first; `tests.forked` imports it in the process they are forked from.

A tiny training then takes two thirds of its time. Tests that start a new interpreter do without it.
"""

from hydra import compose, initialize_config_dir

from facekp.config.location import CONF_DIR
from facekp.core import registry
from facekp.data.readers.read import read_table
from facekp.training.run import read_train_settings
from tests import kept_faces as kept_faces
from tests import light_imports as light_imports

with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
    settings = read_train_settings(compose("train", ["data=synthetic", "data.rows=60"]))
read_table(settings.data, settings.keypoints)
registry._entry_points.cache_clear()  # a command's packages may be others
registry._all_entry_points.cache_clear()
