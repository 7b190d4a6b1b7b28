"""Builds backbones of Hugging Face's transformers, from pretrained weights or from a configuration.

What comes back has ``feature_maps`` of several levels. Only classes of transformers itself are built: the code that a
folder or a repository of the hub may hold is never run, and weights are read without running code.
"""

from __future__ import annotations

import logging
import textwrap
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from torch import float32, nn

from facekp.core.console import listed
from facekp.core.errors import UserError
from facekp.functional.finite import first_not_finite

log = logging.getLogger(__name__)
LEVELS = 4  # of features that are used; of a vision transformer's layers, as many that lie evenly apart

NEEDS_TORCHVISION = {"timm_backbone"}
WEIGHTS, CONFIG = "model.network.weights", "model.network.config"

# Keys that say nothing about the layers. Some choose code to load; others are set here, or are long and about classes.
DROPPED = {
    "architectures", "attn_implementation", "auto_map", "dtype", "experts_implementation", "id2label", "label2id",
    "num_labels", "out_features", "out_indices", "output_attentions", "output_hidden_states", "problem_type",
    "quantization_config", "return_dict", "torch_dtype", "transformers_version", "use_kernels",
}  # fmt: skip


def build_backbone(weights: str | None, config: dict[str, Any] | None) -> nn.Module:
    """A backbone with pretrained weights, or one of a configuration with random weights.

    Args:
        weights: a folder, or a name at the hub, which is downloaded or taken from the library's cache.
        config: where ``weights`` is None: ``model_type`` and the settings that this kind has in transformers.

    Raises:
        UserError: transformers is not installed, the weights can't be loaded, or the configuration is not valid.
    """
    library = _import_library()
    try:
        return _of_config(library, config) if weights is None else _pretrained(library, weights)
    except UserError:
        raise
    except Exception as error:  # of the library: of files, the network and configurations, with no common base
        reason = textwrap.shorten(str(error), 160, placeholder=" ...")
        if weights is None:
            raise UserError(f"{CONFIG}: transformers can't build it: {reason}") from error
        raise UserError(
            f"{WEIGHTS}={weights}: can't be loaded ({reason}); give a folder with config.json and model.safetensors, a "
            "name at the hub, or null for random weights"
        ) from error


def describe(backbone: nn.Module) -> dict[str, Any]:
    """The configuration of a backbone as plain values, for `build_backbone`."""
    return _plain_config(backbone.config.to_dict())  # type: ignore[operator, union-attr]


def _import_library() -> ModuleType:
    try:
        import transformers
    except ImportError as error:
        raise UserError(
            "model.network.name=backbone: needs transformers, which is not installed: pip install 'facekp[backbone]'"
        ) from error
    transformers.utils.logging.set_verbosity_error()  # what matters is logged here
    transformers.utils.logging.disable_progress_bar()
    return transformers


def _of_config(library: ModuleType, config: dict[str, Any] | None) -> nn.Module:
    values = _plain_config(config or {})
    if "model_type" not in values:
        raise UserError(f"{CONFIG}: has no model_type; give e.g. {CONFIG}.model_type=convnextv2, or {WEIGHTS}=NAME")
    chosen = library.AutoConfig.for_model(**values)
    _check_kind(library, chosen, CONFIG)
    return library.AutoBackbone.from_config(_with_levels(chosen))


def _pretrained(library: ModuleType, weights: str) -> nn.Module:
    path = Path(weights)
    if path.is_dir() and not (path / "config.json").is_file():
        raise UserError(f"{WEIGHTS}={weights}: the folder has no config.json; give one that save_pretrained wrote")
    if path.is_file() or (not path.is_dir() and (weights.startswith((".", "/")) or weights.count("/") > 1)):
        problem = "is a file" if path.is_file() else "there is no such folder"
        raise UserError(f"{WEIGHTS}={weights}: {problem}; give the folder that save_pretrained wrote, or a hub name")
    chosen = library.AutoConfig.from_pretrained(weights, trust_remote_code=False)
    _check_kind(library, chosen, f"{WEIGHTS}={weights}")
    kind = library.AutoBackbone._model_mapping[type(chosen)]  # AutoBackbone itself asks the hub for a folder, too
    options = {"trust_remote_code": False, "output_loading_info": True, "ignore_mismatched_sizes": True}
    backbone, info = kind.from_pretrained(weights, config=_with_levels(chosen), dtype=float32, **options)
    names, fresh, misfits = list(backbone.state_dict()), sorted(info["missing_keys"]), info["mismatched_keys"]
    if misfits:
        raise UserError(
            f"{WEIGHTS}={weights}: the shape of {listed(sorted(map(_name, misfits)))} does not fit its config.json; "
            "give weights and config.json of the same network"
        )
    if (damaged := first_not_finite(backbone.state_dict())) is not None:
        raise UserError(f"{WEIGHTS}={weights}: its tensor {damaged} has NaN or infinite numbers; give other weights")
    if len(fresh) == len(names):
        raise UserError(
            f"{WEIGHTS}={weights}: none of its tensors fits the {chosen.model_type} of its config.json; give weights "
            "of that kind, or null for random weights"
        )
    start = f"; {len(fresh)} start at random ({listed(fresh)})" if fresh else ""
    log.info("%s=%s: %d tensors copied%s", WEIGHTS, weights, len(names) - len(fresh), start)
    return backbone


def _name(mismatched: Any) -> str:
    """The name of a tensor whose shape does not fit; transformers lists some with both shapes."""
    return mismatched if isinstance(mismatched, str) else mismatched[0]


def _check_kind(library: ModuleType, config: Any, what: str) -> None:
    """Refuse a config for which transformers can't build a backbone.

    Raises:
        UserError: transformers has no backbone of this kind, or only one that needs torchvision.
    """
    if type(config) not in library.AutoBackbone._model_mapping or config.model_type in NEEDS_TORCHVISION:
        raise UserError(
            f"{what}: transformers has no backbone of the kind {config.model_type}; choose e.g. convnextv2, resnet, "
            "swin or dinov2"
        )


def _with_levels(config: Any) -> Any:
    """The configuration, with `LEVELS` levels of features as the output, evenly apart, the last one among them."""
    stages = [i for i, name in enumerate(config.stage_names) if name != "stem"]
    chosen = np.unique(np.linspace(0, len(stages), LEVELS + 1).round().astype(int))[1:] - 1
    config.set_output_features_output_indices(out_features=None, out_indices=[stages[i] for i in chosen])
    return config


def _plain_config(values: dict[str, Any]) -> dict[str, Any]:
    """The settings of the layers."""
    return {key: value for key, value in values.items() if not key.startswith("_") and key not in DROPPED}
