"""What a wrong configuration is told: the exact text, one line each, nothing started."""

from __future__ import annotations

from pathlib import Path

import pytest

from metta_sweep.config import load_sweep_job, load_train_job, validate_file
from metta_sweep.config.checks import spec_problems
from metta_sweep.errors import ConfigError
from searchers import NumericParameter, Space, SpaceError

QUICK = ["sweep_name=demo", "sweep=quick"]


def told(*overrides: str, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_sweep_job(overrides, environ or {})
    assert caught.value.exit_code == 2
    return list(caught.value.problems)


NAME_RULE = (
    "cannot name a directory; use up to 100 letters, digits, '.', '_' and '-', a letter or digit first, and no '..'"
)


ADD_A_NAME = "add sweep_name=NAME; a new name starts a sweep, a known one continues it"


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["sweep=quick"], f"configs/sweep_job.yaml:14: sweep_name: missing; {ADD_A_NAME}"),
        (["sweep_name=a/b", "sweep=quick"], f"command line: sweep_name: 'a/b' {NAME_RULE}"),
        (["sweep_name=a..b", "sweep=quick"], f"command line: sweep_name: 'a..b' {NAME_RULE}"),
        (["sweep_name=demo", "sweep=quik"], "command line: sweep=quik: no such option; did you mean quick?"),
        ([*QUICK, "+hardware=macbok"], "command line: hardware=macbok: no such option; did you mean macbook?"),
        (
            [*QUICK, "env=navigation"],
            "command line: env=navigation: no such option; did you mean mettagrid/navigation?",
        ),
        (
            [*QUICK, "trainer/pach=x"],
            "command line: trainer/pach=x: no config group trainer/pach; did you mean trainer/patch or trainer?",
        ),
        (
            [*QUICK, "trainer.num_envs=1,2"],
            "command line: trainer.num_envs=1,2: several values at once are Hydra's multirun; put the parameter "
            "under sweep.parameters instead",
        ),
        (
            [*QUICK, "+trainer.num_envs=3"],
            "command line: +trainer.num_envs=3: trainer.num_envs is 32 already; use trainer.num_envs= or "
            "++trainer.num_envs= to replace it",
        ),
        (
            [*QUICK, "trainer.ppo.gamma=${trainer.ppo.gama}"],
            "command line: trainer.ppo.gamma: ${trainer.ppo.gama}: Interpolation key 'trainer.ppo.gama' not found",
        ),
        (
            [*QUICK, "resources.world_size=2", "resources.gpus_per_worker=0.5", "device=cuda"],
            "command line: resources.gpus_per_worker: 0.5: a fraction of a GPU works for one rank only; "
            "use whole GPUs or resources.world_size=1 and less than 1",
        ),
        ([*QUICK, "sweep.metric=rewrd"], "command line: sweep.metric: unknown 'rewrd'; did you mean reward?"),
    ],
)
def test_a_wrong_word_is_told_in_one_line(overrides: list[str], expected: str) -> None:
    assert told(*overrides) == [expected]


SECTIONS = {
    "hardwear=auto": "hardwear: unknown key; did you mean hardware?",
    "settings.max_consecutive_failures=many": "settings.max_consecutive_failures: need a whole number, got 'many'",
    "budget.gpu_hours=0": "budget.gpu_hours: need a number > 0, got 0; leave it out for no limit",
    "budget.dollars=3": "budget.dollars: 3 needs budget.hourly_cost, in dollars per GPU-hour (per slot-hour without "
    "GPUs)",
    "wandb.mode=onlin": "wandb.mode: unknown mode 'onlin'; did you mean online or offline?",
    "seed=-1": "seed: need a whole number >= 0, got -1",
    "resources.world_size=0": "resources.world_size: need at least 1 rank, got 0",
    "resources.strategy=SPRED": "resources.strategy: 'SPRED' is not a strategy; did you mean SPREAD?",
    "resources.gpus_per_worker=1": "resources.gpus_per_worker: 1: runs with device cpu do not use GPUs; use 0, or "
    "device=cuda",
    "sweep.goal=maximise": "sweep.goal: unknown goal 'maximise'; did you mean maximize or minimize?",
    "sweep.method=bayesian": "sweep.method: unknown method 'bayesian'; did you mean bayes?",
    "sweep.num_samples=0": "sweep.num_samples: need at least 1, got 0; leave it out for an endless sweep",
    "sweep.searcher=Protein": "sweep.searcher: need package.Class, got 'Protein'",
    "sweep.parameters.trainer.total_timesteps.min=200000": (
        "sweep.parameters.trainer.total_timesteps.min: need min < max, got min 200000 and max 98304; swap them or "
        "use {value: 200000}"
    ),
    "sweep.parameters.trainer.optimizer.learning_rate.mean=1": (
        "sweep.parameters.trainer.optimizer.learning_rate.mean: need a value from min 0.0005 to max 0.01, got 1; "
        "move mean or widen the range"
    ),
    "sweep.parameters.trainer.ppo.gae_lambda.max=1.0": (
        "sweep.parameters.trainer.ppo.gae_lambda.max: logit_normal needs max < 1, got 1.0; use 0.9999 or "
        "distribution: uniform"
    ),
    "sweep.parameters.trainer.minibatch_size.distribution=uniform_pow": (
        "sweep.parameters.trainer.minibatch_size.distribution: unknown distribution 'uniform_pow'; did you mean "
        "uniform_pow2?"
    ),
    "sweep.protein.num_random=3": "sweep.protein.num_random: unknown setting; did you mean num_random_samples?",
}
RUN = {
    "trainer.optimzer.eps=1": "trainer.optimzer: unknown key; did you mean optimizer?",
    "trainer.gama=1": "trainer.gama: unknown key; did you mean trainer.ppo.gamma or trainer.compile or "
    "trainer.ppo.gae_lambda?",
    "env.dificulty=0.5": "env.dificulty: unknown key; did you mean difficulty?",
    "model.type=mpl": "model.type: unknown value 'mpl'; did you mean mlp?",
}
SEARCHED = {
    "+sweep.parameters.trainer.ppo.gama={min: 0.1, max: 0.9}": (
        "sweep.parameters.trainer.ppo.gama: no such parameter in the training configuration; "
        "did you mean trainer.ppo.gamma or trainer.ppo.gae_lambda or trainer.ppo.target_kl?"
    ),
    "+sweep.parameters.trainer.checkpoint={min: 0.1, max: 0.9}": (
        "sweep.parameters.trainer.checkpoint: names a section of the training configuration, not a value; "
        "did you mean trainer.checkpoint.keep or trainer.checkpoint.interval_seconds?"
    ),
    "+sweep.parameters.trainer.ppo.gamma={min: 0.5, max: 1.5}": (
        "sweep.parameters.trainer.ppo.gamma.max: need a number from 0 to 1, got 1.5"
    ),
    "+sweep.parameters.trainer.num_envs={choices: [8, 16.5]}": (
        "sweep.parameters.trainer.num_envs.choices: need a whole number, got 16.5"
    ),
}


@pytest.mark.parametrize("table", [SECTIONS, RUN, SEARCHED], ids=["sections", "run", "searched"])
def test_each_of_many_wrong_words_is_told_at_once_and_nothing_else(table: dict[str, str]) -> None:
    assert sorted(told(*QUICK, *table)) == sorted(f"command line: {problem}" for problem in table.values())


def test_sizes_that_ranks_cannot_share_are_refused_by_name() -> None:
    assert told(*QUICK, "resources.world_size=3") == [
        f"configs/trainer/ppo.yaml:{line}: trainer.{name}: {size} is not divisible by resources.world_size=3; use a "
        "multiple of it"
        for line, name, size in ((8, "num_envs", 32), (3, "batch_size", 8192), (4, "minibatch_size", 2048))
    ]


def test_nothing_can_be_deleted_that_is_not_there() -> None:
    assert told(*QUICK, "~trainer.ppo.gama") == [
        "command line: ~trainer.ppo.gama: trainer.ppo.gama: nothing to delete; "
        "did you mean trainer.ppo.gamma or trainer.ppo.gae_lambda or trainer.ppo.target_kl?"
    ]


def test_problems_of_all_kinds_are_told_together() -> None:
    wrong = [
        "trainer.gama=1",
        "sweep.goal=up",
        "budget.dollars=3",
        "settings.max=1",
        "sweep.parameters.trainer.minibatch_size.min=3",
    ]
    keys = [problem.split(": ")[1] for problem in told("sweep=quick", *wrong)]
    assert keys == [
        "sweep_name",
        "settings.max",
        "budget.dollars",
        "sweep.goal",
        "sweep.parameters.trainer.minibatch_size.min",
        "trainer.gama",
    ]


def test_a_number_in_an_environment_variable_is_checked() -> None:
    assert told(*QUICK, environ={"NUM_GPUS": "two"}) == [
        "environment: NUM_GPUS: need a whole number >= 0, got 'two'; unset it to detect"
    ]


def test_an_unknown_config_directory_is_told() -> None:
    with pytest.raises(ConfigError, match=r"--config-dir nowhere: no such directory"):
        load_sweep_job(QUICK, {}, [Path("nowhere")])


def test_a_file_that_does_not_exist_is_told() -> None:
    with pytest.raises(ConfigError, match=r"nothing\.yaml: no such file"):
        validate_file(Path("nothing.yaml"), [], {})


def test_a_sweep_without_parameters_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "bare.yaml"
    file.write_text("metric: reward\n")
    with pytest.raises(ConfigError, match=r"^sweep\.parameters: nothing to search"):
        validate_file(file, [], {})


def test_train_needs_a_name_and_known_keys() -> None:
    with pytest.raises(ConfigError) as caught:
        load_train_job(["trainer.optimizer.lr=1"], {})
    assert caught.value.problems[0] == "configs/train_job.yaml:13: run: missing; add run=NAME"


def test_a_written_batch_that_does_not_divide_is_refused_but_a_patch_may_hold_one(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"trainer\.batch_size: 8192 is not divisible by trainer\.minibatch_size=3000"
    ):
        load_train_job(["run=x", "trainer.minibatch_size=3000"], {})
    patch = tmp_path / "trainer" / "patch" / "odd.yaml"
    patch.parent.mkdir(parents=True)
    patch.write_text("# @package _global_\ntrainer:\n  minibatch_size: 3000\n")
    assert load_train_job(["run=x", "+trainer/patch=odd"], {}, [tmp_path]).config["trainer"]["minibatch_size"] == 3000


def test_a_name_with_a_colon_in_it_stays_whole_in_the_key_of_its_problem() -> None:
    (problem,) = spec_problems({"trainer": {"ppo": {"a: b": 1}}}, is_written=True)
    assert (problem.key, problem.text[:11]) == ("trainer.ppo.a: b", "unknown key")
    with pytest.raises(SpaceError) as caught:
        Space.from_config({"a: b": {"min": 2, "max": 1}})
    assert [key for key, _ in caught.value.keyed] == ["a: b.min"]


@pytest.mark.parametrize("name", ["inf", "nan", "10", "1e3", "1_0", "007", "true"])
def test_a_name_that_looks_like_a_number_is_a_name(name: str) -> None:
    assert load_train_job([f"run={name}"], {}).run == name
    assert load_sweep_job([f"sweep_name={name}", "sweep=quick"], {}).sweep_name == name


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("loguniform", "log_normal"),
        ("log_uniform_values", "log_normal"),
        ("qloguniform", "log_normal"),
        ("tune.quniform", "uniform"),
        ("randint", "int_uniform"),
        ("lograndint", "int_log_normal"),
        ("choice", "categorical"),
        ("FloatDistribution", "uniform"),
        ("IntDistribution", "int_uniform"),
        ("suggest_categorical", "categorical"),
        ("LogitSpace", "logit_normal"),
        ("constant", "{value: ...} without a distribution"),
    ],
)
def test_distributions_of_other_tools_lead_to_ours(theirs: str, ours: str) -> None:
    with pytest.raises(SpaceError, match="unknown distribution") as caught:
        Space.from_config({"x": {"distribution": theirs, "min": 1, "max": 2}})
    assert str(caught.value) == f"x.distribution: unknown distribution {theirs!r}; did you mean {ours}?"


WANDB_FILE = """\
program: train.py
run_cap: 20
command: ["python", "${program}", "${args}"]
parameters:
  optimizer:
    parameters:
      beta1: {min: 0.8, max: 0.99}
"""


def test_keys_of_a_wandb_file_lead_to_ours(tmp_path: Path) -> None:
    file = tmp_path / "theirs.yaml"
    file.write_text(WANDB_FILE)
    with pytest.raises(ConfigError) as caught:
        validate_file(file, [], {})
    lines = [line.removeprefix(f"{file}:") for line in caught.value.problems]
    says_what = "of a W&B sweep file; here trainable.command says what a run is; "
    convert = "`python -m metta_sweep convert FILE` rewrites a W&B sweep file"
    assert lines == [
        f"1: sweep.program: {says_what}{convert}",
        "2: sweep.run_cap: of a W&B sweep file; here it is num_samples",
        f"3: sweep.command: {says_what}{convert}",
        "6: sweep.parameters.optimizer.parameters: W&B's way of nesting; leave this level out: optimizer.beta1",
    ]


def test_a_sweep_key_without_its_prefix_is_told_where_it_belongs() -> None:
    said = "command line: num_samples: unknown key; did you mean sweep.num_samples?"
    assert told(*QUICK, "num_samples=4") == [said]


OWN_KEYS = """\
x-common: &wide
  distribution: log_normal
  min: 0.0001
  max: 0.01
num_samples: 4
parameters:
  trainer.optimizer.learning_rate: *wide
  trainer.ppo.ent_coef: {<<: *wide, max: 0.1}
"""


def test_a_file_may_have_keys_of_its_own_and_anchors(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(OWN_KEYS)
    job = validate_file(tmp_path / "mine.yaml", ["x-notes=mine"], {})
    free = [one for one in job.sweep.phases[0].space.parameters if isinstance(one, NumericParameter)]
    bounds = {parameter.name: parameter.high for parameter in free}
    assert bounds == {"trainer.optimizer.learning_rate": 0.01, "trainer.ppo.ent_coef": 0.1}
    assert "x-" not in job.spec_yaml
