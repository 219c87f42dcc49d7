"""Keeps the best checkpoint by the validation tasks beside the last, and scores it."""

from torch import nn

from layerbench import files
from layerbench.agents.pretrained.loading import weights_hash
from layerbench.benchmarks.config import evaluations
from layerbench.benchmarks.errors import UserError
from layerbench.benchmarks.records.best_iteration import best_iteration
from layerbench.benchmarks.records.record_sections import BestCheckpoint
from layerbench.benchmarks.records.run_record import BEST_PHASE
from layerbench.benchmarks.runs.player import Evaluator
from layerbench.rl.checkpoint import check_tensors, read_identity, read_weights, replace_weights
from layerbench.rl.checkpoint_files import check_whole, checkpoint_name, checkpoints, damage
from layerbench.rl.trainer import Trainer


def keep(evaluator: Evaluator, trainer: Trainer) -> None:
    """Keep the weights that the trainer has now, if no earlier ones were better."""
    done = len(trainer.history)
    if _best(evaluator) == done:
        trainer.save(evaluator.folder.best, kept=1)


def lost(evaluator: Evaluator) -> str:
    """Say why the best checkpoint so far cannot be used, and delete it; empty if it can.

    Only for a run in which an evaluation has made one.
    """
    if not evaluations.keeps_best(evaluator.config):
        return ""
    folder = evaluator.folder.best
    try:
        found = checkpoints(folder)
        for path in found:
            check_whole(path)
    except UserError as error:
        files.remove(folder)
        return str(error).partition(":")[0]
    return "" if found else f"the best checkpoint in {folder} is lost"


def score(model: nn.Module, evaluator: Evaluator) -> BestCheckpoint | None:
    """Evaluate the best checkpoint at all temperatures, unless it is the last.

    The model has its last weights afterwards.

    Args:
        model: The model that plays, with the weights of the last iteration.
        evaluator: Has the evaluations of all others.

    Returns:
        The best checkpoint; None where none was validated while the run trained.

    Raises:
        UserError: The checkpoint is damaged, or of another run.
    """
    best, last = _best(evaluator), evaluator.config.train.iterations
    if best is None:
        return None
    if best == last:
        return BestCheckpoint(best, weights_hash(model))
    path = evaluator.folder.best / checkpoint_name(best)
    newest = evaluator.folder.path / "checkpoints" / checkpoint_name(last)
    weights = read_weights(path)
    if read_identity(path) != read_identity(newest):
        raise damage(path, f"it is of another run than {newest.name}")
    parameters = {n: p for n, p in model.named_parameters() if n in weights}
    check_tensors(path, weights, parameters, what="weight")
    trained = replace_weights(parameters, weights)
    evaluator.evaluate(BEST_PHASE)
    sha256 = weights_hash(model)
    replace_weights(parameters, trained)
    return BestCheckpoint(best, sha256)


def _best(evaluator: Evaluator) -> int | None:
    config = evaluator.config
    return best_iteration(
        evaluator.evaluations,
        validation_split=config.env.train_split if evaluations.validates(config) else "",
        last=config.train.iterations,
    )
