"""A plain Ray Tune script: Tune's own search space, trainable and result, and ProteinSearch as its search algorithm."""

from __future__ import annotations

from typing import Any

from ray import tune

from searchers import ProteinSearch


def objective(config: dict[str, Any]) -> dict[str, Any]:
    return {"score": 1.0 - (config["rate"] - 0.2) ** 2 - 0.1 * config["layers"] + (config["kind"] == "b")}


def main(num_samples: int = 20, storage_path: str | None = None) -> dict[str, Any]:
    """The best configuration; Tune's files go to `storage_path`, or where Tune puts them."""
    tuner = tune.Tuner(
        objective,
        param_space={
            "rate": tune.loguniform(1e-3, 1.0),
            "layers": tune.randint(1, 5),
            "kind": tune.choice(["a", "b"]),
        },
        tune_config=tune.TuneConfig(
            search_alg=ProteinSearch(config={"objective": "best"}),  # the best score, not the whole front
            metric="score",
            mode="max",
            num_samples=num_samples,
            max_concurrent_trials=2,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(storage_path=storage_path, verbose=0),
    )
    return dict(tuner.fit().get_best_result().config)


if __name__ == "__main__":
    print(main())
