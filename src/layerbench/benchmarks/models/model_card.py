"""The README.md of an exported model, by the run's record, for readers and for the Hub."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from layerbench.agents.pretrained import embedded, names
from layerbench.benchmarks.models.delta import Base
from layerbench.benchmarks.records import run_table
from layerbench.benchmarks.records.run_record import FULL_SELECTION, RunRecord
from layerbench.benchmarks.records.text import UNPUBLISHED, escaped, markdown_table, plain
from layerbench.benchmarks.stats.success import pooled
from layerbench.rl.types import CONTROLS, NORM, SCALE

# Settings that hold paths of the machine that the run was on.
_LOCAL_SETTINGS = frozenset({"model", "parts", "read_from"})


def write(record: RunRecord, base: Base, *, whole: bool) -> str:
    """Write the card of a whole model or of a delta.

    Names from the record are escaped, and paths of the machine that the run was on are left out.

    Args:
        record: Record of the run that trained last.
        base: The model that training began with.
        whole: Whether the folder is a whole model; else it is a delta to the base.
    """
    sections = [
        _metadata(base, whole=whole),
        f"# {escaped(plain(_short(base.name)))}, {_what_learned(record)} trained on "
        f"{escaped(plain(record.env.gym_id))}",
        _summary(record, base),
        "## Scores",
        _scores(record),
        "## Use",
        _use(record, base, whole=whole),
        "## Record",
        markdown_table(["", ""], _facts(record, base)),
        "## Settings",
        _settings(record.settings),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def is_local(name: str) -> bool:
    """Tell whether a base is a folder of this machine: neither on the Hub nor in layerbench."""
    return not names.is_known(name) and Path(name).is_dir()


def _metadata(base: Base, *, whole: bool) -> str:
    """Write the card's metadata for the Hub."""
    # YAML, of which JSON is a part: json.dumps quotes what needs quoting.
    tags = ["layerbench", "reinforcement-learning"]
    lines = [f"tags: {json.dumps(tags)}", 'pipeline_tag: "text-generation"']
    if whole:
        lines.append('library_name: "transformers"')
    if _is_on_the_hub(base):
        lines.append(f"base_model: {json.dumps(base.name)}")
    return "\n".join(["---", *lines, "---"])


def _summary(record: RunRecord, base: Base) -> str:
    selection, parameters = record.selection, record.model.parameters
    assert parameters is not None, "what was exported has weights"
    lines = [
        f"Reinforcement learning with layerbench ({escaped(plain(record.algorithm))}) of "
        f"{_what_learned(record)}: {selection.parameters:,} of {parameters:,} "
        f"parameters ({selection.share:.1%})."
    ]
    if selection.lora_rank:
        lines.append(
            f"These are of LoRA adapters of rank {selection.lora_rank}, added here to the layers' "
            "matrices; all else is as it was before the run, bit for bit."
        )
    elif selection.name == SCALE:
        lines.append(
            "It is multiplied into the final norm's weights; all else is as it was before the run, "
            "bit for bit."
        )
    elif selection.parameters < parameters:
        lines.append("All others are as they were before the run, bit for bit.")
    if not record.training.decisions and not record.settings.get("parts"):
        lines.append("The run took no optimizer step: it changed none of them.")
    if record.model.weights_sha256 != base.weights_sha256:
        lines.append("The run began with a model that earlier runs had trained.")
    lines.append("The licence is that of the base model.")
    return " ".join(lines)


def _scores(record: RunRecord) -> str:
    phases = run_table.phases(record)
    rows: list[list[str]] = []
    for split in record.env.eval_splits:
        change = record.differences.get(split)
        evaluations = [record.evaluation(phase=p, split=split) for p in phases]
        scores = [run_table.score(pooled(e.outcomes)) for e in evaluations]
        rows.append([plain(split), *scores, run_table.gain(change) if change else ""])
    table = markdown_table(["split", *phases, "difference"], rows)
    text = (
        "Success rate (won/played) with its 95 % interval, before and after training, on the same "
        "tasks."
    )
    if record.env.source in UNPUBLISHED:
        text += f" Games {record.env.source}: {UNPUBLISHED[record.env.source]}."
    return f"{text}\n\n{table}"


def _use(record: RunRecord, base: Base, *, whole: bool) -> str:
    # Of a whole model, layerbench cannot tell that it is the embedded one trained further, whose
    # prompts have their own style; of a delta, the base's name says it.
    style = f" agent.style={record.settings['agent']['style']}" if whole else ""
    command = f"layerbench eval {record.env.name} --model FOLDER{style}"
    if whole:
        return (
            "Any program that loads models of transformers loads this folder: "
            f'`AutoModelForCausalLM.from_pretrained("FOLDER")`. With layerbench: '
            f"`{_in_code(command)}`."
        )
    return (
        "The folder holds the changed parameters alone, for the base model with the hash below. "
        f"`{_in_code(command)}` puts them into it, and checks both."
    )


def _facts(record: RunRecord, base: Base) -> Sequence[Sequence[str]]:
    env, training, code = record.env, record.training, record.code
    changed = ", with uncommitted changes" if code.dirty else ""
    facts = {
        "base model": _short(base.name),
        "revision": base.revision if _is_on_the_hub(base) else "",
        "weights of the base, SHA-256": base.weights_sha256,
        "weights trained, SHA-256": record.selection.weights_sha256,
        "dtype": base.dtype,
        "layers": f"{record.selection.name} of {record.selection.num_layers}",
        "environment": f"{env.gym_id}, games {env.source}, version {env.version}",
        "splits": f"trained on {env.train_split}, scored on {', '.join(env.eval_splits)}",
        "algorithm": f"{record.algorithm}, preset {record.preset}, seed {record.seed}",
        "training": f"{training.iterations} iterations, {training.episodes:,} episodes, "
        f"{training.turns:,} turns, {training.decisions:,} decisions",
        "layerbench": f"{code.version} {code.revision[:12] or (code.sha256 or '')[:12]}{changed}",
        "packages": ", ".join(f"{name} {number}" for name, number in code.packages.items()),
        "hardware": f"{record.hardware.device}, {record.hardware.platform}",
        "began": record.started,
    }
    return [[name, plain(value)] for name, value in facts.items() if value]


def _settings(settings: Mapping[str, Any]) -> str:
    shown = {name: value for name, value in settings.items() if name not in _LOCAL_SETTINGS}
    # An environment's data_dir is a path of that machine, too.
    shown["env"] = {
        **settings["env"],
        "options": {k: v for k, v in settings["env"]["options"].items() if k != "data_dir"},
    }
    text = json.dumps(shown, indent=1, ensure_ascii=True)
    # A fence must be longer than any run of backticks in the text, or the text could close it.
    longest = max(map(len, re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}json\n{text}\n{fence}"


def _what_learned(record: RunRecord) -> str:
    name, _, rates = record.selection.name.partition(" rates ")
    if name == FULL_SELECTION and not record.selection.lora_rank:
        return "all parameters" + (f" (rates {escaped(plain(rates))})" if rates else "")
    if name in CONTROLS:
        return {SCALE: "scale of the logits", NORM: "final norm's weights"}[name]
    noun = "layer" if len(record.selection.layers) == 1 else "layers"
    return f"{noun} {escaped(plain(record.selection.name))}"


def _is_on_the_hub(base: Base) -> bool:
    return not names.is_known(base.name) and not is_local(base.name)


def _short(name: str) -> str:
    # The last part alone: a local folder's path would tell about the machine of the run.
    return f"layerbench's {name} model" if name in embedded.FOLDERS else Path(name).name


def _in_code(text: str) -> str:
    return plain(text).replace("`", "\ufffd")
