"""A trainer class for axolotl, which finds it by ``trainer_cls: axolotl_dpo.Trainer`` and this folder on PYTHONPATH."""

from axolotl.core.trainers.dpo.trainer import AxolotlDPOTrainer
from counterpoise_adapters.trl import RobustConfig, robust


class Trainer(robust(AxolotlDPOTrainer)):
    """Axolotl's DPO with robust weights."""

    def __init__(self, *args, **kwargs):
        config = RobustConfig("dora", penalty=0.5, scope="step")
        super().__init__(*args, robust_config=config, **kwargs)
