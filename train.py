"""Train and evaluate one generative model, or with ``-m`` several: ``python train.py --help``."""

import sys

from genmodels.signals import program

with program():  # from here on, Ctrl-C is no traceback
    import hydra
    from omegaconf import DictConfig

    from genmodels.launch import job, one_sentence_errors, understood


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def main(config: DictConfig) -> float | None:
    """Hydra's entry point."""
    return job(config)


if __name__ == "__main__":
    with one_sentence_errors(), understood(sys.argv[1:]):
        main()
