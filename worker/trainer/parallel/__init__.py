"""One job in several processes, each of which takes its share of every batch: data-parallel training.

``launch`` forks the processes, ``ranks`` has what the training loop asks of them, ``sums`` what they add up, ``norm``
batch normalisation over all of them, ``wire`` how they talk, ``quiet`` what all but the first leave unsaid. The plain
`Ranks`, for a run in one process, does nothing.
"""

from worker.trainer.parallel.launch import launch
from worker.trainer.parallel.ranks import ALONE, Ranks

__all__ = ["ALONE", "Ranks", "launch"]
