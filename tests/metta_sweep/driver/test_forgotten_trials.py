"""A sweep of ten thousand runs does not carry ten thousand configurations with it."""

from __future__ import annotations

from ray.tune.experiment import Trial

from metta_sweep.driver.tune import forget, run_id_of


def test_of_a_trial_that_ended_its_name_and_score_stay() -> None:
    config = {"run": {"id": "s.r.7", "spec": {"trainer": {"total_timesteps": 1}}}}
    trial = Trial("run", config=config, evaluated_params={"run/id": "s.r.7"}, stub=True)
    trial.update_last_result({"score": 1.0, "config": config, "result_json": "{}"})
    forget(trial)
    assert run_id_of(trial) == "s.r.7"
    assert trial.last_result["score"] == 1.0
    assert "spec" not in str(trial.config) + str(trial.last_result) + str(trial.evaluated_params)
