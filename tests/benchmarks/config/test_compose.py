import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import hydra
import pytest
import yaml
from hydra import initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hypothesis import given
from hypothesis import strategies as st

from layerbench.agents.pretrained import taught_styles
from layerbench.benchmarks.config import compose, overrides, sections, serialize, validate
from layerbench.benchmarks.config.schema import RunConfig
from layerbench.benchmarks.errors import SettingsError
from layerbench.benchmarks.records import run_names
from layerbench.benchmarks.runs import resolve
from layerbench.envs import references, registry
from layerbench.rl.settings import Aggregation, Algorithm, Normalisation


@pytest.mark.parametrize("preset", validate.PRESETS)
@pytest.mark.parametrize("env", references.own_names())
def test_every_environment_has_every_preset(env: str, preset: str) -> None:
    loaded = resolve.load(env, preset=preset)
    assert (loaded.env.name, loaded.preset) == (env, preset)
    # Every setting has a value: omegaconf marks those without one by ???.
    assert "???" not in serialize.to_yaml(loaded)


@pytest.mark.parametrize("env", references.own_names())
def test_published_turns_are_the_registrys(env: str) -> None:
    assert resolve.load(env, preset="paper").env.max_turns == registry.find(env).max_turns


@pytest.mark.parametrize(
    ("env", "preset"), [("alfworld", "paper"), ("math", "paper-math"), ("code", "paper-code")]
)
def test_a_layer_of_the_papers_trains_at_the_rate_of_full(env: str, preset: str) -> None:
    loaded = resolve.load(env, preset=preset)
    assert loaded.train.learning_rate == loaded.train.layer_learning_rate == 5e-6


@pytest.mark.parametrize(
    ("preset", "typed", "name"),
    [
        ("paper", [], "gigpo"),
        ("paper-math", [], "grpo"),
        ("paper-code", [], "grpo"),
        ("paper-math", ["algorithm.name=gigpo"], "gigpo"),
        ("paper-math", ["algorithm.name=dr_grpo"], "dr_grpo"),
    ],
)
def test_a_preset_chooses_its_algorithm_unless_one_is_typed(
    preset: str, typed: list[str], name: str
) -> None:
    loaded = resolve.load("math", typed, preset=preset)
    assert loaded.algorithm.name == name
    # With the values of that algorithm's file.
    assert (loaded.train.loss.kl_coef == 0.0) == (name == "dr_grpo")
    assert loaded.algorithm.normalisation == ("mean" if name == "dr_grpo" else "mean_std")


def test_a_file_without_an_algorithm_has_that_of_its_preset(tmp_path: Path) -> None:
    path = tmp_path / "some.yaml"
    path.write_text("preset: paper-math\ntrain: {iterations: 3}\n")
    assert resolve.load("math", file=path).algorithm.name == "grpo"
    assert resolve.load("math", ["algorithm.name=gigpo"], file=path).algorithm.name == "gigpo"


def test_the_papers_training_on_code_reads_whole_programs() -> None:
    loaded = resolve.load("code", preset="paper-code")
    assert loaded.env.options["turns"] == "whole"
    assert loaded.agent.answer_form == "text"


def test_a_preset_can_set_the_turns_of_one_environment() -> None:
    assert resolve.load("alfworld").env.max_turns == 20
    assert resolve.load("alfworld", ["env.max_turns=30"]).env.max_turns == 30
    assert resolve.load("keydoor").env.max_turns == 10


@pytest.mark.parametrize(
    ("typed", "path", "value"),
    [
        ("train.iterations=7", "train.iterations", 7),
        ("train.learning_rate=3e-4", "train.learning_rate", 3e-4),
        ("train.kl_coef=1", "train.loss.kl_coef", 1.0),
        ("train.dynamic_sampling=True", "train.dynamic_sampling", True),
        ("env.eval_splits=unseen", "env.eval_splits", ["unseen"]),
        ("env.eval_splits=[unseen, seen]", "env.eval_splits", ["unseen", "seen"]),
        ("model.name=/it's here/a=b,c", "model.name", "/it's here/a=b,c"),
        ("layers=10,15,20-23", "layers", "10,15,20-23"),
        ("layers=15", "layers", "15"),
        ("layers= 3, 5-7", "layers", "3,5-7"),
        ("layers=None", "layers", "none"),
    ],
)
def test_a_typed_value_arrives(typed: str, path: str, value: object) -> None:
    setting: object = resolve.load("alfworld", [typed])
    for name in path.split("."):
        setting = getattr(setting, name)
    assert setting == value


@pytest.mark.parametrize("name", ["env.difficulty", "env.options.difficulty"])
def test_an_option_of_the_environment_is_a_setting(name: str) -> None:
    assert resolve.load("alfworld", [f"{name}=hard"]).env.options["difficulty"] == "hard"


def test_an_option_without_a_value_takes_text() -> None:
    options = resolve.load("alfworld", ["env.data_dir=/games 1"]).env.options
    assert options["data_dir"] == "/games 1"
    assert resolve.load("alfworld", ["env.data_dir=null"]).env.options["data_dir"] is None


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        (["seed=1", "seed=2"], "seed is given twice, as 1 and as 2: give it once"),
        (["layers= 15", "layers=3"], "layers is given twice, as 15 and as 3"),
        (["env.num_keys=1", "env.options.num_keys=2"], "env.options.num_keys is given twice"),
    ],
)
def test_a_setting_with_two_values_is_a_mistake(typed: list[str], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        resolve.load("keydoor", typed)


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("agent.mode=choose", "did you mean 'agent.action_mode' or 'agent.context_mode'?"),
        ("train.iteratons=3", "no setting named 'train.iteratons': did you mean 'train.iterations"),
        ("iterations=3", "no setting named 'iterations': did you mean 'train.iterations'?"),
        ("xyzzy=3", "no setting named 'xyzzy': "),
        ("env.difficulty=easy", "no setting named 'env.difficulty'"),
        ("+train.new=3", "no setting named '+train.new'"),
        ("hydra.run.dir=x", "no setting named 'hydra.run.dir'"),
        ("train", "expected setting=value, got 'train'"),
        ("preset=quick", "preset is chosen by --preset"),
        ("env.name=alfworld", "env.name is chosen by the argument ENV"),
        ("train.iterations=many", "train.iterations must be a whole number, got 'many'"),
        ("train.iterations=1.5", "train.iterations must be a whole number, got '1.5'"),
        ("train.iterations=0", "train.iterations must be at least 1, got 0"),
        ("train.kl_coef=-1", "train.kl_coef must be at least 0, got -1.0"),
        ("train.kl_coef=nan", "train.kl_coef must be finite, got 'nan'"),
        ("train.kl_coef=1e999", "train.kl_coef must be finite, got '1e999'"),
        (f"seed={'9' * 400}", f"seed must be a whole number, got '{'9' * 64}'"),
        (f"train.tasks={'9' * 5000}", "train.tasks must be a whole number, got '999"),
        (f"train.kl_coef={'9' * 400}", "train.kl_coef must be a number, got '999"),
        ("seed=\u0663", "seed must be a whole number, got '\u0663'"),
        ("seed=1_000", "seed must be a whole number, got '1_000'"),
        ("env.slots=1000000000", "env.slots must be at most 65_536 (each is an environment in"),
        ("env.workers=100000", "env.workers must be at most 1_024 (each is a process)"),
        ("env.max_turns=1000000000", "env.max_turns must be at most 10_000 ("),
        ("env.num_keys=99999999", "env.num_keys must be at most 1_000_000"),
        ("model.threads=1000000", "model.threads must be at most 1_024 (no machine has"),
        ("train.group_size=1000000000", "train.group_size must be at most 65_536 (all episodes"),
        ("train.learning_rate=1e38", "train.learning_rate must be at most 10 (AdamW moves"),
        ("train.temperature=1e30", "train.temperature must be at most 100 ("),
        ("train.iterations=99999999", "train.iterations must be at most 1_000_000 ("),
        ("eval.tasks=1000000000", "eval.tasks must be at most 100_000 ("),
        ("eval.episodes_per_task=10000000", "eval.episodes_per_task must be at most 1_000_000 ("),
        ("eval.episodes_per_task=10000", "make 10240512 episodes of evaluations"),
        ("agent.history=99999999", "agent.history must be at most 10_000 ("),
        ("agent.max_prompt_tokens=9999999999", "agent.max_prompt_tokens must be at most 100_000_"),
        (f"model.name={'x' * 5000}", "model.name has 5000 characters: 4096 are the most"),
        ("model.name=a\0b", "model.name has a character that is no text: 'a\\x00b'"),
        ("env.train_split=\udcff", "env.train_split has a character that is no text: "),
        ("train.group_size=1", "train.group_size must be at least 2, got 1"),
        ("train.tasks=1", "train.tasks is 1, less than the 8 of train.tasks_per_iteration"),
        ("train.temperature=0", "train.temperature is 0"),
        ("train.dynamic_sampling=1", "train.dynamic_sampling must be true or false, got '1'"),
        ("algorithm.discount=1.1", "algorithm.discount must be from 0 to 1, got 1.1"),
        ("algorithm.name=dr-grpo", "algorithm.name cannot be 'dr-grpo': did you mean 'dr_grpo'?"),
        ("algorithm.name=grop", "algorithm.name cannot be 'grop': did you mean 'grpo'?"),
        ("agent.action_mode=x", "agent.action_mode cannot be 'x': known: generate, choose"),
        ("env.eval_splits=", "env.eval_splits is empty"),
        ("algorithm.similarity=0", "algorithm.similarity must be above 0, got 0.0"),
        ("algorithm.std_eps=0", "algorithm.std_eps must be above 0, got 0.0"),
        ("train.learning_rate=0", "train.learning_rate must be above 0, got 0.0"),
        ("train.clip_low=1", "train.clip_low must be below 1, got 1.0"),
        (
            "env.eval_splits=[seen",
            "env.eval_splits must be a list such as a,b or [a,b], got '[seen'",
        ),
        ("env.eval_splits=a],b", "env.eval_splits must be a list such as a,b or [a,b], got 'a],b'"),
        ("env.eval_splits=test,train", "env.eval_splits has train, which the run trains on"),
        ("env.train_split=test", "env.eval_splits has test, which the run trains on"),
        ("env.eval_splits=a,a", "env.eval_splits repeats a split"),
    ],
)
def test_a_mistake_is_named(typed: str, says: str) -> None:
    with pytest.raises(SettingsError) as caught:
        resolve.load("keydoor", [typed], preset="default")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_group_and_tasks_make_no_more_episodes_than_fit_in_memory() -> None:
    typed = ["train.group_size=1024", "train.tasks_per_iteration=1024"]
    with pytest.raises(SettingsError, match="times group_size makes 1048576 episodes"):
        resolve.load("keydoor", typed)


def test_a_negative_zero_is_zero() -> None:
    assert str(resolve.load("keydoor", ["train.kl_coef=-0.0"]).train.loss.kl_coef) == "0.0"


def test_an_evaluation_alone_may_use_the_split_of_training() -> None:
    loaded = resolve.load("keydoor", ["env.eval_splits=train", "layers=none"])
    assert loaded.env.eval_splits == [loaded.env.train_split]


def test_a_model_that_can_be_fetched_brings_its_preset(tmp_path: Path) -> None:
    # By its name, or as the base model of a run; a folder that has its name is another model.
    typed = ["model.name=embedded", "model.name=smollm2-135m"]
    assert resolve.load("alfworld", typed[1:]).preset == "small"
    assert resolve.load("alfworld", typed[:1]).preset == "default"
    assert resolve.load("alfworld", typed[1:], preset="quick").preset == "quick"
    assert resolve.load("alfworld", ["model.name=./smollm2-135m"]).preset == "default"
    checkpoint = tmp_path / "run" / "checkpoints" / "iteration-000001"
    checkpoint.mkdir(parents=True)
    (tmp_path / "run" / "config.yaml").write_text("model: {name: smollm2-135m, revision: main}")
    loaded = resolve.load("alfworld", [f"model.name={checkpoint}"])
    assert (loaded.preset, loaded.agent.style) == ("small", "compact")


def test_an_unknown_preset_is_named() -> None:
    with pytest.raises(SettingsError, match="'quik': did you mean 'quick'"):
        resolve.load("keydoor", preset="quik")


@pytest.mark.parametrize("preset", validate.PRESETS)
def test_dr_grpo_divides_by_constants_alone(preset: str) -> None:
    typed = ["algorithm.name=dr_grpo"]
    config = resolve.load("alfworld", typed, preset=preset)
    algorithm, training = config.algorithm, config.train
    assert algorithm.name is Algorithm.DR_GRPO
    assert algorithm.normalisation is Normalisation.MEAN
    assert training.loss.aggregation is Aggregation.DR_GRPO
    assert training.loss.kl_coef == 0.0
    # Overrides win over the algorithm's defaults, in either order.
    for both in (["train.kl_coef=0.02", *typed], [*typed, "train.kl_coef=0.02"]):
        assert resolve.load("alfworld", both, preset=preset).train.loss.kl_coef == 0.02


def test_dr_grpo_with_a_deviation_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"algorithm\.normalisation must be mean"):
        resolve.load("keydoor", ["algorithm.name=dr_grpo", "algorithm.normalisation=mean_std"])


@pytest.mark.parametrize("algorithm", sections.choices_of(RunConfig)["algorithm.name"])
def test_hydra_composes_a_job_with_the_same_settings(algorithm: str) -> None:
    config = resolve.load("keydoor", [f"algorithm.name={algorithm}", "train.clip_low=0.1"])
    with initialize_config_module(compose.CONF, version_base="1.3"):
        composed = hydra.compose(compose.JOB, overrides=compose.to_hydra(config))
    received = compose.from_hydra(composed)
    assert serialize.as_dict(received) == serialize.as_dict(config)
    assert received.run_root == config.run_root


# Each has a meaning in hydra's grammar, or in omegaconf's.
TEXTS = (
    *("${oc.env:HOME}", "${", "\\${x}", "$${a}", "???", "\\", "a\\", "'", '"', "it's", "a,b"),
    *("{a: 1}", "key=[", "=", "=???", "+x=", "~x", "@", "null", "1e5", "01", "yes", "2001-01-01"),
    *("#", "a: b", "- a", "&a *a", "!!python/object:x", "|", "\u00e9\u4e2d"),
)


@pytest.mark.parametrize("text", TEXTS)
def test_text_is_text_on_every_way_of_a_setting(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "secret")
    config = resolve.load("webshop", [f"model.name={text}", f"env.data_dir=x{text}"])
    assert (config.model.name, config.env.options["data_dir"]) == (text, f"x{text}")
    settings = serialize.as_dict(config)
    # A record, config.yaml, and a job of a sweep.
    assert serialize.restore(json.loads(json.dumps(settings))).model.name == text
    (tmp_path / "config.yaml").write_text(serialize.to_yaml(config))
    assert run_names.read_settings(tmp_path) == settings
    compose.register()
    with initialize_config_module(compose.CONF, version_base="1.3"):
        composed = hydra.compose(compose.JOB, overrides=compose.to_hydra(config))
    received = compose.from_hydra(composed)
    assert serialize.as_dict(received) == serialize.as_dict(config)
    assert received.run_root == config.run_root


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20))
def test_any_text_arrives_as_it_was_typed(text: str) -> None:
    form = sections.form_of(resolve.load("keydoor"))
    overrides.apply([f"model.name={text}"], form)
    assert form.model.name == text.strip()


def test_a_variable_in_a_typed_setting_is_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "7")
    for name in ("seed", "train.learning_rate", "train.dynamic_sampling"):
        with pytest.raises(SettingsError, match=r"must be .*, got '\$\{oc\.env:SECRET\}'"):
            resolve.load("keydoor", [f"{name}=${{oc.env:SECRET}}"])


def test_style_follows_the_model() -> None:
    assert resolve.load("alfworld").agent.style == "compact"
    assert resolve.load("alfworld", ["model.name=org/model"]).agent.style == "chat"
    assert resolve.load("alfworld", ["agent.style=chat"]).agent.style == "chat"


@pytest.mark.parametrize("preset", ["quick", "default", "quick-generate"])
def test_keydoor_is_played_by_its_own_embedded_model(preset: str) -> None:
    settings = resolve.load("keydoor", preset=preset)
    assert settings.model.name == "embedded-keydoor"
    assert settings.agent.style == ("chat" if preset == "quick-generate" else "compact")


@pytest.mark.parametrize("preset", ["quick", "default"])
def test_the_embedded_model_is_prompted_in_the_style_of_each_environment(preset: str) -> None:
    styles = {
        "alfworld": "compact",
        "webshop": "compact-webshop",
        "math": "plain",
        "code": "compact",
    }
    for env, style in styles.items():
        settings = resolve.load(env, preset=preset)
        assert (settings.model.name, settings.agent.style) == ("embedded", style)
        assert resolve.load(env, ["model.name=org/model"]).agent.style == "chat"


def test_a_folder_that_names_the_styles_it_was_taught_is_prompted_in_them(tmp_path: Path) -> None:
    taught_styles.write(tmp_path, {"math": "plain", "webshop": "compact-webshop"})
    typed = [f"model.name={tmp_path}"]
    assert resolve.load("math", typed).agent.style == "plain"
    assert resolve.load("webshop", typed).agent.style == "compact-webshop"
    assert resolve.load("code", typed).agent.style == "chat"
    assert resolve.load("math", [*typed, "agent.style=chat"]).agent.style == "chat"
    # Free text asks for the form of an answer, which these styles do not.
    assert resolve.load("math", [*typed, "agent.action_mode=generate"]).agent.style == "chat"


def test_a_style_that_no_folder_can_name_is_refused(tmp_path: Path) -> None:
    taught_styles.write(tmp_path, {"math": "file"})
    with pytest.raises(SettingsError, match=r"prompt_styles\.json cannot be 'file'"):
        resolve.load("math", [f"model.name={tmp_path}"])


def test_fingerprint_sees_settings_but_not_the_folder() -> None:
    plain = serialize.fingerprint(resolve.load("keydoor"))
    assert serialize.fingerprint(resolve.load("keydoor", ["run_root=elsewhere"])) == plain
    assert serialize.fingerprint(resolve.load("keydoor", ["train.clip_high=0.28"])) != plain


def test_settings_are_composed_within_an_application_of_hydra() -> None:
    with initialize_config_module(compose.CONF, version_base="1.3"):
        of_the_application = GlobalHydra.instance().hydra
        # Not from the cache.
        compose._composed.cache_clear()  # pyright: ignore[reportPrivateUsage]
        assert resolve.load("keydoor", preset="quick").train.iterations == 2
        assert GlobalHydra.instance().hydra is of_the_application
    assert not GlobalHydra.instance().is_initialized()


def test_settings_are_composed_in_several_threads_at_once() -> None:
    compose._composed.cache_clear()  # pyright: ignore[reportPrivateUsage]
    with ThreadPoolExecutor(4) as threads:
        futures = [threads.submit(resolve.load, "keydoor", preset=p) for p in validate.PRESETS]
    assert [future.result().preset for future in futures] == list(validate.PRESETS)


def test_a_record_has_every_setting_but_where_it_ran() -> None:
    config = resolve.load("keydoor")
    recorded, listed = serialize.as_dict(config), yaml.safe_load(serialize.listing(config))
    assert listed["model"].pop("concurrency") == 8
    # Of what is named there, if anything is.
    for section, name in (("env", "origin"), ("agent", "prompt_file"), ("eval", "panel")):
        assert listed[section].pop(name) == ""
    assert listed["model"].pop("static_cache") is False
    assert {**listed, "parts": []} == recorded


def test_published_settings_can_be_read_and_their_commands_keep_their_folders() -> None:
    published = Path(__file__).parents[3] / "docs/study/four-domains/alfworld"
    name = "alfworld-embedded-layer9-gigpo-default-seed1-429f218c"
    record = json.loads((published / name / "record.json").read_text())
    assert serialize.as_dict(serialize.restore(record["settings"])) == record["settings"]
    typed = ["layers=9", "seed=1", "env.eval_splits=[seen]", "eval.tasks=256"]
    assert name.endswith(serialize.fingerprint(resolve.load("alfworld", typed)))


def test_settings_that_are_not_all_there_are_refused() -> None:
    settings = serialize.as_dict(resolve.load("keydoor"))
    assert serialize.as_dict(serialize.restore(settings)) == settings
    del settings["train"]["lora_rank"]
    with pytest.raises(SettingsError, match="settings cannot be read"):
        serialize.restore(settings)


def test_date_is_a_day() -> None:
    for date in ("2024-7-26", "20240726", "today", "2024-02-30"):
        with pytest.raises(SettingsError, match=rf"agent\.date must be a day .* got {date}"):
            resolve.load("keydoor", [f"agent.date={date}"])
    assert resolve.load("keydoor", ["agent.date=2031-01-02"]).agent.date == "2031-01-02"


def test_thoughts_cannot_be_turned_off_in_a_choice_of_actions() -> None:
    with pytest.raises(SettingsError, match=r"agent\.thinking is about free text"):
        resolve.load("keydoor", ["agent.thinking=false"])


@pytest.mark.parametrize("typed", ["agent.action_mode=generate", "env.observation_mode=text_rich"])
def test_compact_style_is_refused_where_it_has_no_words(typed: str) -> None:
    with pytest.raises(SettingsError, match=r"agent\.style compact-webshop"):
        validate.check_style(resolve.load("webshop", [typed, "agent.style=compact-webshop"]))


@pytest.mark.parametrize("model", ["Qwen/Qwen2.5-7B-Instruct", "Qwen/Qwen3-1.7B"])
def test_paper_preset_takes_any_model(model: str) -> None:
    config = resolve.load("alfworld", [f"model.name={model}"], preset="paper")
    assert (config.agent.action_mode, config.agent.context_mode) == ("generate", "window")
    assert (config.agent.style, config.model.dtype) == ("chat", "auto")
    assert config.train.learning_rate == config.train.layer_learning_rate == 5e-6
