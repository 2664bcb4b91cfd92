"""What one machine with a GPU does: `python -m tests.proof.gpu DIRECTORY [--steps 50000000]`.

The quick sweep with sixteen runs on an eighth of the GPU each, one long run on the GPU with all cores, and the quick
sweep on the cores alone. Prints a line for each.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from tests.proof.afresh import EPISODES, MAPS_SEED
from tests.proof.stage import Stage

NUM_RUNS = 16
SHARED = ("device=cuda", "resources.gpus_per_worker=0.125")
CORES = ("device=cpu",)
# docs/tutorials/gpu-machine.md: one GPU with many cores, a wide network
WIDE = (
    *("device=cuda", "model.hidden_size=512", "trainer.num_envs=1024", "trainer.batch_size=131072"),
    *("trainer.minibatch_size=32768", "trainer.update_epochs=2", "trainer.optimizer.learning_rate=1.0e-3"),
    *("trainer.compile=true", "trainer.cuda_graphs=true", "wandb=off"),
)


def quick_sweep(stage: Stage, name: str, *words: str) -> str:
    """How long the sweep took, what its runs cost and how good they are."""
    begun = time.monotonic()
    stage.call("run", f"sweep_name={name}", "sweep=quick", f"sweep.num_samples={NUM_RUNS}", "wandb=off", *words)
    wall = time.monotonic() - begun
    state = stage.ask("status", f"sweep_name={name}", "--all")
    runs = [run for run in state["runs"] if run["state"] == "completed"]
    costs, walls = ([run[key] for run in runs] for key in ("cost_seconds", "wall_seconds"))
    scores = [run["score"] for run in runs]
    return (
        f"{name}: {len(runs)} runs completed, {len(state['utilisation'])} at once, {wall:.0f} s of wall clock; a run "
        f"{np.median(walls):.1f} s and {np.median(costs):.2f} s of cost (medians), all {sum(costs):.0f} s; "
        f"scores {np.median(scores):.2f}, best {max(scores):.2f}"
    )


def long_run(stage: Stage, num_steps: int) -> str:
    """How fast one long run trains and how good its policy is on fresh maps."""
    words = ("run=long", f"trainer.total_timesteps={num_steps}", *WIDE)
    begun = time.monotonic()
    trained = stage.ask("train", *words)
    wall, train = time.monotonic() - begun, trained["costs"]["train"]
    played = stage.ask("evaluate", *words, f"sim.seed={MAPS_SEED}", f"sim.episodes={EPISODES}")
    return (
        f"long: {trained['env_steps']:,} steps in {wall:.0f} s of wall clock; training {train['wall_seconds']:.0f} s, "
        f"{trained['env_steps'] / train['wall_seconds']:,.0f} steps a second, {train['gpu_seconds']:.0f} GPU-seconds, "
        f"{train['cpu_seconds']:.0f} CPU-seconds; score {played['score']:.2f} +- {played['standard_error']:.2f} on "
        f"{EPISODES} fresh episodes"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--steps", type=int, default=50_000_000, help="of the long run")
    arguments = parser.parse_args()
    stage = Stage(arguments.directory.resolve())
    stage.directory.mkdir(parents=True, exist_ok=True)
    print(quick_sweep(stage, "an_eighth_of_a_gpu", *SHARED), flush=True)
    print(long_run(stage, arguments.steps), flush=True)
    print(quick_sweep(stage, "cores_alone", *CORES), flush=True)


if __name__ == "__main__":
    main()
