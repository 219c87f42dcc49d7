"""Checks a record's fields against its settings and against each other."""

import math
import re
from collections.abc import Iterator
from datetime import datetime

from layerbench.benchmarks.config import endpoints
from layerbench.benchmarks.config.selected_layers import recorded_name, selection_of
from layerbench.benchmarks.records import provenance
from layerbench.benchmarks.records.record_sections import CodeRecord, EnvRecord, SelectionRecord
from layerbench.benchmarks.verify.submission import Remark, Submission, Unchecked, Wrong
from layerbench.benchmarks.verify.tasks_here import identify_allowed, is_of_files
from layerbench.envs import registry
from layerbench.envs.descriptions import EnvIdentity
from layerbench.envs.types import TaskSource
from layerbench.rl.types import LayerSelection

_SHA256 = re.compile(r"[0-9a-f]{64}")
# Empty where neither a checkout nor the installation names the commit.
_REVISION = re.compile(r"[0-9a-f]{40}|")


def check_identity(submission: Submission) -> Iterator[Remark]:
    """Compare the names of environment, model and algorithm, and the seed, with the settings."""
    record, config = submission.record, submission.config
    if endpoints.is_endpoint(config.model.name) != (record.endpoint is not None):
        yield Wrong(f"model {config.model.name!r} and the field endpoint contradict each other")
    for name, recorded, expected in (
        ("seed", record.seed, config.seed),
        ("algorithm", record.algorithm, config.algorithm.name.value),
        ("preset", record.preset, config.preset),
        ("model.name", record.model.name, config.model.name),
        ("model.revision", record.model.revision, config.model.revision),
        ("env.name", record.env.name, config.env.name),
        ("env.train_split", record.env.train_split, config.env.train_split),
        ("env.eval_splits", list(record.env.eval_splits), config.env.eval_splits),
    ):
        if recorded != expected:
            yield Wrong(f"{name} is {recorded!r}, the settings say {expected!r}")
    yield from _environment(submission)


def _environment(submission: Submission) -> Iterator[Remark]:
    env, config = submission.record.env, submission.here.env
    if env.splits_sha256 is not None:
        kind = env.source.rpartition("-")[0]
        if env.source != TaskSource(kind, by_split=env.splits_sha256).name:
            yield Wrong(f"env.source is {env.source!r}, env.splits_sha256 makes it another")
    try:
        identity = identify_allowed(config)
    except (ValueError, TypeError, OSError):
        yield Unchecked(f"source of the tasks: {submission.obstacle}")
        return
    for name, recorded, expected in (
        ("env.gym_id", env.gym_id, identity.gym_id),
        ("env.version", env.version, identity.version),
    ):
        if recorded != expected:
            yield Wrong(f"{name} is {recorded!r}, for these settings it is {expected!r}")
    if other := _other_code(env, identity):
        yield Unchecked(f"code of the environment: {other}")
    if env.source == identity.source:
        return
    # Files that are others here say nothing against those that were played.
    if is_of_files(env, identity):
        what = submission.obstacle or "not all of its splits are the same on this machine"
        yield Unchecked(f"source of the tasks: {what}")
    else:
        yield Wrong(f"env.source is {env.source!r}, for these settings it is {identity.source!r}")


def _other_code(env: EnvRecord, identity: EnvIdentity) -> str:
    """Say how a foreign environment's code differs here; empty where it is not known to."""
    here = identity.package
    recorded = (env.package or "", env.package_version or "", env.module_sha256 or "")
    found = (here.name, here.version, here.module_sha256)
    # layerbench's own is known by `code`; older records say nothing of any.
    if registry.is_own(identity.name) or not any(recorded) or recorded == found:
        return ""
    return f"{_code_words(*recorded)} in the record, {_code_words(*found)} on this machine"


def _code_words(package: str, version: str, module_sha256: str) -> str:
    files = f"files of the hash {module_sha256[:12]}" if module_sha256 else ""
    return f"{package} {version}{f', {files}' if files else ''}" if package else files


def check_selection(submission: Submission) -> Iterator[Remark]:
    """Compare the selection with the settings and with the model's size."""
    record, config = submission.record, submission.config
    selection, num_layers = record.selection, record.selection.num_layers
    if num_layers is None:
        if selection.name != config.layers or selection.share:
            yield Wrong(f"selection is {selection.name!r}, but an endpoint's model cannot learn")
        return
    try:
        expected = selection_of(config, num_layers=num_layers)
    except ValueError as error:
        yield Wrong(f"settings.layers: {error}")
        return
    name = recorded_name(config, expected)
    if selection.layers != expected.layers or selection.name != name:
        yield Wrong(
            f"selection is {selection.name!r} with layers {list(selection.layers)}, "
            f"the settings give {name!r} with {list(expected.layers)}"
        )
    rank = (config.train.lora_rank or None) if submission.changes else None
    if selection.lora_rank != rank:
        yield Wrong(f"selection.lora_rank is {selection.lora_rank}, the settings make it {rank}")
    yield from _share(selection, expected, parameters=record.model.parameters or 0)


def _share(
    selection: SelectionRecord, expected: LayerSelection, *, parameters: int
) -> Iterator[Remark]:
    if parameters < 1 or not 0 <= selection.parameters <= parameters:
        yield Wrong(f"{selection.parameters} of {parameters} parameters cannot be trained")
        return
    share = selection.parameters / parameters
    if not math.isclose(selection.share, share, rel_tol=1e-9):
        yield Wrong(
            f"selection.share is {selection.share}, but {selection.parameters} "
            f"of {parameters} parameters are {share}"
        )
    # Adapters of all layers are still not all parameters.
    everything = expected.everything and not selection.lora_rank
    if everything != (selection.parameters == parameters):
        yield Wrong(
            f"selection {expected.name!r} cannot train {selection.parameters} "
            f"of {parameters} parameters"
        )


def check_training(submission: Submission) -> Iterator[Remark]:
    """Compare the counts of training, and the layers that moved, with the settings."""
    training, train = submission.record.training, submission.config.train
    trains = submission.trains
    episodes = training.iterations * train.tasks_per_iteration * train.group_size
    for name, recorded, expected in (
        ("training.iterations", training.iterations, train.iterations if trains else 0),
        ("training.tasks", training.tasks, train.tasks if trains else 0),
    ):
        if recorded != expected:
            yield Wrong(f"{name} is {recorded}, the settings say {expected}")
    # Dynamic sampling replaces groups without a mixed score, and so plays more.
    if training.episodes < episodes or (
        training.episodes > episodes and not train.dynamic_sampling
    ):
        yield Wrong(f"training.episodes is {training.episodes}, the settings make it {episodes}")
    if not 0 <= training.turns <= training.episodes * submission.config.env.max_turns:
        yield Wrong(f"training.turns is {training.turns} in {training.episodes} episodes")
    if set(training.seconds) != {"play", "update"} or min(training.seconds.values()) < 0:
        yield Wrong(f"training.seconds is {dict(training.seconds)}: give play and update")
    yield from _movement(submission)


def _movement(submission: Submission) -> Iterator[Remark]:
    selection, movement = submission.record.selection, submission.record.movement
    trained = {str(layer) for layer in selection.layers}
    if set(movement.per_layer) != trained:
        yield Wrong(
            f"movement is of layers {sorted(movement.per_layer)}, trained were {sorted(trained)}"
        )
    moved = [*movement.per_layer.values(), *movement.per_matrix.values()]
    if any(share < 0 for share in moved):
        yield Wrong("movement is below 0")
    changed = selection.weights_sha256 != submission.record.model.weights_sha256
    if changed and not any(moved):
        yield Wrong("the weights changed, but nothing is said to have moved")
    if not changed and any(moved):
        yield Wrong("layers are said to have moved, but the weights did not change")


def check_provenance(submission: Submission) -> Iterator[Remark]:
    """Check the form of the hashes of the weights, the commit and the start."""
    record = submission.record
    for name, text in (
        ("model.weights_sha256", record.model.weights_sha256),
        ("selection.weights_sha256", record.selection.weights_sha256),
        *(
            (f"model.files_sha256 of {part[:20]}", sha256)
            for part, sha256 in (record.model.files_sha256 or {}).items()
        ),
    ):
        if not record.endpoint and not _SHA256.fullmatch(text):
            # Cut off, since a forged field may be of any length.
            yield Wrong(f"{name} is {text[:70]!r}: not a SHA-256 in hexadecimal")
    yield from _code(record.code)
    try:
        started = datetime.fromisoformat(record.started)
    except ValueError:
        yield Wrong(f"started is {record.started[:40]!r}: not an ISO 8601 time")
    else:
        if started.tzinfo is None:
            yield Wrong(f"started is {record.started!r}: without a time zone")
    yield from _memory(submission)


def _code(code: CodeRecord) -> Iterator[Remark]:
    """Compare the code with this machine's, by the hash of the package's files."""
    if not _REVISION.fullmatch(code.revision):
        yield Wrong(f"code.revision is {code.revision[:70]!r}: not a commit")
        return
    if code.sha256 is not None and not _SHA256.fullmatch(code.sha256):
        yield Wrong(f"code.sha256 is {code.sha256[:70]!r}: not a SHA-256 in hexadecimal")
        return
    here = provenance.code()
    if code.sha256 == here.sha256 and not (code.dirty and not code.revision):
        return
    is_commit_here = code.revision == here.revision and not code.dirty and not here.dirty
    if code.revision and is_commit_here and code.sha256 is not None:
        yield Wrong(
            f"code.sha256 is {code.sha256[:12]}, but commit {code.revision[:12]}, which is "
            f"checked out here, has {str(here.sha256)[:12]}"
        )
    # A commit says which code it was, whatever is checked out here.
    elif not code.revision or code.dirty:
        made_with = f"{code.version}, {code.sha256[:12]}" if code.sha256 else code.version
        how = ", with uncommitted changes" if code.dirty else ""
        yield Unchecked(
            f"code: made with other code than is here: {made_with}{how}; here {here.version}, "
            f"{str(here.sha256)[:12]}"
        )


def _memory(submission: Submission) -> Iterator[Remark]:
    record = submission.record
    for name, peak in (
        ("peak_memory_mb", record.peak_memory_mb),
        ("peak_device_memory_mb", record.peak_device_memory_mb),
    ):
        if peak is not None and peak <= 0:
            yield Wrong(f"{name} is {peak}")
