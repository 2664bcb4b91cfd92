"""Callbacks of other libraries report what those libraries measured.

stable-baselines3 and Lightning are none of our dependencies: their tests run where they are installed
(`pip install stable-baselines3 lightning`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trainables.callbacks.pufferlib import PufferReport
from trainables.report import PATH_VARIABLE


@pytest.fixture
def reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that a sweep would listen to."""
    monkeypatch.setenv(PATH_VARIABLE, str(tmp_path / "reports.jsonl"))
    return tmp_path / "reports.jsonl"


def read(reports: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in reports.read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "time"} for row in rows]


def test_pufferlibs_logs_become_reports_once_there_is_a_score(reports: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METTA_SWEEP_RUN", "s.r.3")
    logger = PufferReport(metrics=("environment/episode_length", "SPS"))
    logger.log({"SPS": 1000.0}, 10)
    logger.log({"SPS": 1000.0, "environment/score": 0.5, "environment/episode_length": 20.0}, 64)
    logger.close("model.pt")
    assert read(reports) == [{"step": 64, "score": 0.5, "episode_length": 20.0, "SPS": 1000.0}]
    assert logger.run_id == "s.r.3"


def test_stable_baselines3_reports_its_training_or_each_evaluation(reports: Path) -> None:
    library = pytest.importorskip("stable_baselines3", reason="stable-baselines3 is not installed")
    from stable_baselines3.common.callbacks import EvalCallback

    from trainables.callbacks.stable_baselines3 import StableBaselinesReport

    model = library.PPO("MlpPolicy", "CartPole-v1", n_steps=128, batch_size=128, n_epochs=1, device="cpu", seed=1)
    model.learn(512, callback=StableBaselinesReport(every=200))
    trained = read(reports)
    assert [row["step"] for row in trained] == [200, 400, 512]
    assert all(5 < row["score"] < 200 for row in trained)
    after = EvalCallback(
        model.get_env(), callback_after_eval=StableBaselinesReport(), eval_freq=64, n_eval_episodes=2, verbose=0
    )
    model.learn(128, callback=after)
    evaluated = read(reports)[len(trained) :]
    assert [row["step"] for row in evaluated] == [64, 128]
    assert evaluated[-1]["score"] == after.last_mean_reward


def test_lightning_reports_what_was_logged_in_each_validation(reports: Path, tmp_path: Path) -> None:
    lightning = pytest.importorskip("lightning", reason="Lightning is not installed")
    import torch

    from trainables.callbacks.lightning import LightningReport

    class Module(lightning.LightningModule):  # type: ignore[name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)

        def training_step(self, batch: Any, _: int) -> Any:
            return self.layer(batch).mean()

        def validation_step(self, batch: Any, _: int) -> None:
            self.log("val_return", 0.25 * (1 + self.current_epoch))
            self.log("length", 7.0)

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 0.1)

    data: Any = torch.utils.data.DataLoader(torch.ones(4, 1), batch_size=2)
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    callback = LightningReport("val_return", ["length"])
    trainer = lightning.Trainer(
        max_epochs=2, accelerator="cpu", callbacks=[callback], default_root_dir=tmp_path, **quiet
    )
    trainer.fit(Module(), data, data)
    assert read(reports) == [
        {"step": 2, "score": 0.25, "length": 7.0},
        {"step": 4, "score": 0.5, "length": 7.0},
    ]
