"""`cluster`: from this machine to a Ray cluster and back; up, submit, launch (both), status, down."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metta_sweep.cli.commands import add_config_arguments
from metta_sweep.errors import ConfigError
from metta_sweep.typed_commands import NO_ADDRESS

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

    from metta_sweep.launch.request import ClusterRequest

ACTIONS = {
    "up": "write a cluster file, check it, start the head; workers start when runs wait",
    "submit": "run a sweep on a cluster that is up; it goes on when this machine is switched off",
    "launch": "up and submit",
    "status": "show nodes and sweeps of a cluster",
    "down": "end a cluster; refused while a sweep runs",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = "actions:\n" + "\n".join(f"  {name:<8}{text}" for name, text in ACTIONS.items())
    parser.add_argument("action", choices=ACTIONS, metavar="|".join(ACTIONS))
    add_config_arguments(parser)
    add = parser.add_argument
    add("--name", default="", help="name of the cluster (default: the only one; of up and launch: the sweep's name)")
    data_dir = add("--data-dir", type=Path, metavar="DIR")
    data_dir.help = "where this machine keeps cluster files: DIR/cluster (default: data_dir)"
    add("--cluster-file", type=Path, metavar="FILE", help="a cluster file of your own")
    address = add("--address", default=os.environ.get("RAY_API_SERVER_ADDRESS", ""))
    address.help = "address of a Ray dashboard, for a cluster that somebody else started"
    add("--json", action="store_true", help="status: print JSON for programs")
    add("--yes", action="store_true", help="do not ask")
    add("--force", action="store_true", help="down: even while a sweep runs, or when the cluster does not answer")
    add("--follow", action="store_true", help="submit, launch: show the sweep's output until it ends")
    variable = add("--env", action="append", default=[], metavar="NAME=VALUE")
    variable.help = "set a variable for the sweep (repeat for several); SWEEP_CONFIG names a sweep file"
    add_request_arguments(parser.add_argument_group("the cluster that up and launch ask for"))


def add_request_arguments(group: Any) -> None:
    group.add_argument("--provider", default="", metavar="aws|gcp|local|kuberay")
    group.add_argument("--gpus", type=int, default=0, metavar="N", help="GPUs per worker")
    group.add_argument("--nodes", type=int, default=1, metavar="N", help="most workers at once (default 1)")
    group.add_argument("--no-spot", action="store_true", help="on-demand workers: at the full price, never taken away")
    group.add_argument("--dry-run", action="store_true", help="write and check the cluster file, start nothing")
    group.add_argument("--image", default="", help="container image; its tag ends in RAY-pyXY, such as 2.60.0-py311")
    group.add_argument("--region", default="", help="cloud region")
    group.add_argument("--zones", default="", help="availability zones, comma-separated")
    group.add_argument("--project", default="", help="gcp: id of your project")
    group.add_argument("--shared", default="", metavar="HOST:/PATH", help="NFS export that all nodes mount on /shared")
    group.add_argument("--head", default="", metavar="ADDRESS", help="local: the head machine")
    group.add_argument("--workers", default="", metavar="A,B", help="local: the other machines")
    group.add_argument("--ssh-user", default="", help="local: user to log in as")
    group.add_argument("--ssh-key", default="", metavar="FILE", help="local: private key")
    environment = group.add_argument("--virtual-environment", default="", metavar="DIR")
    environment.help = "local: the nodes' virtual environment, made if missing"
    group.add_argument("--temp-dir", default="", metavar="DIR", help="local: Ray's session directory")
    group.add_argument("--port", type=int, default=0, help="local: port of Ray's head")
    group.add_argument("--dashboard-port", type=int, default=0, help="local: port of Ray's dashboard")


def run(args: argparse.Namespace) -> int:
    args.environ = {**os.environ, **variables(args.env)}
    if args.action in ("submit", "launch"):
        args.overrides = sweep_words(args.overrides, args.environ)
    elif args.overrides:
        wrong = f"takes no configuration, got {args.overrides[0]!r}; it belongs to submit or launch"
        raise ConfigError(f"cluster {args.action}: {wrong}")
    actions: dict[str, Callable[[argparse.Namespace], int]]
    actions = {"up": up, "submit": submit, "launch": launch, "status": status, "down": down}
    return actions[args.action](args)


def variables(words: list[str]) -> dict[str, str]:
    """`NAME=VALUE` words of `--env`."""
    if wrong := [word for word in words if "=" not in word]:
        raise ConfigError(f"--env: need NAME=VALUE, got {wrong[0]!r}")
    return dict(word.split("=", 1) for word in words)


def sweep_words(overrides: list[str], environ: dict[str, str]) -> list[str]:
    """Overrides of `run`: without the old launcher's job word, with the sweep file that SWEEP_CONFIG names."""
    words = overrides[1:] if overrides[:1] in (["sweep"], ["run"]) else list(overrides)
    file = environ.get("SWEEP_CONFIG", "")
    chosen = any(word.lstrip("+").startswith(("sweep=", "sweep_params=")) for word in words)
    if file and not chosen:
        words.append(f"sweep={file.rpartition('sweep/')[2].removesuffix('.yaml')}")
    return words


def up(args: argparse.Namespace, name: str = "metta-sweep") -> int:
    from metta_sweep.launch.checks import check_tools
    from metta_sweep.launch.clusters import open_cluster

    path = write_cluster_file(args, request_of(args, name))
    if args.dry_run:
        print(f"# {path}: checked, nothing started")
        return 0
    check_tools(args.provider)
    open_cluster(path).up()
    print(f"up: {path.stem}; next: {next_command(args, 'submit', '--name', path.stem)} sweep_name=NAME")
    return 0


def next_command(args: argparse.Namespace, action: str, *words: str) -> str:
    """What to type next, with the directory of cluster files where one was given."""
    where = ["--data-dir", str(args.data_dir)] if args.data_dir else []
    return NO_ADDRESS.command("cluster", action, *words, *where)


def named(args: argparse.Namespace) -> list[str]:
    """The flags that name the cluster."""
    given = {"--name": args.name, "--address": args.address, "--cluster-file": args.cluster_file}
    return [word for flag, value in given.items() if value for word in (flag, str(value))]


def launch(args: argparse.Namespace) -> int:
    from metta_sweep.launch.cluster_files import cluster_name
    from metta_sweep.launch.render import render

    sweep_name = sweep_name_of(args)
    request = request_of(args, cluster_name(sweep_name))
    check_sweep(args, render(request))
    if code := up(args, request.name):
        return code
    args.name = request.name
    return 0 if args.dry_run else submit(args)


def submit(args: argparse.Namespace) -> int:
    from metta_sweep.launch.jobs import follow, make_submission
    from metta_sweep.launch.jobs import submit as submit_job

    config = None if args.address else check_sweep(args, cluster_path(args).read_text(encoding="utf-8"))
    words = [*args.overrides, *(word for path in args.config_dirs for word in ("--config-dir", str(path)))]
    submission = make_submission(sweep_name_of(args), words, Path.cwd(), args.environ, config)
    with reached(args) as client:
        job_id = submit_job(client, submission)
        print(
            f"submitted: {job_id}; it goes on without this machine. See: {next_command(args, 'status', *named(args))}"
        )
        if not args.follow:
            return 0
        for text in follow(client, job_id):
            sys.stdout.write(text)
            sys.stdout.flush()
        return client.get_job_info(job_id).driver_exit_code or 0


def status(args: argparse.Namespace) -> int:
    from metta_sweep.cli.readers import print_json
    from metta_sweep.launch.clusters import open_cluster
    from metta_sweep.launch.jobs import SWEEP_KEY, sweep_jobs

    nodes = "" if args.address else open_cluster(cluster_path(args)).status()
    with reached(args) as client:
        jobs = [
            {"job": job.submission_id, "sweep": (job.metadata or {})[SWEEP_KEY], "status": job.status.value}
            for job in sweep_jobs(client)
        ]
    if args.json:
        print_json({"nodes": nodes, "sweeps": jobs})
        return 0
    print(nodes.strip())
    for job in jobs:
        print(f"{job['job']}: {job['status'].lower()}")
    if not jobs:
        print("no sweeps have been submitted yet")
    return 0


def down(args: argparse.Namespace) -> int:
    from metta_sweep.launch.clusters import open_cluster
    from metta_sweep.launch.jobs import is_running, sweep_jobs

    path = cluster_path(args)
    if not args.force:
        with reached(args) as client:
            running = ", ".join(str(job.submission_id) for job in sweep_jobs(client) if is_running(job))
        if running:
            raise ConfigError(f"cluster {path.stem}: {running} still runs; `stop` the sweep first, or use --force")
    question = f"End cluster {path.stem} and everything on it? [y/N] "
    if not args.yes and input(question).strip().lower() not in ("y", "yes"):
        return 1
    open_cluster(path).down()
    if args.cluster_file is None:
        path.unlink()
    return 0


def request_of(args: argparse.Namespace, name: str) -> ClusterRequest:
    """What the flags ask for."""
    from metta_sweep.launch.request import ClusterRequest, OwnMachines

    flags = {**vars(args), "name": args.name or name, "spot": not args.no_spot, "ssh_private_key": args.ssh_key}
    flags["workers"] = tuple(word for word in args.workers.split(",") if word)
    given = {field.name: flags[field.name] for field in fields(OwnMachines) if flags[field.name]}
    asked = {field.name: flags[field.name] for field in fields(ClusterRequest) if field.name in flags}
    request = ClusterRequest(**asked, own=OwnMachines(**given))
    return request if args.provider != "local" else replace(request, nodes=max(len(request.own.workers), 1))


def write_cluster_file(args: argparse.Namespace, request: ClusterRequest) -> Path:
    """Render, check, show and save."""
    from metta_sweep.launch.checks import check_cluster_file
    from metta_sweep.launch.render import render
    from trainables.disk import write_whole

    text = render(request)
    check_cluster_file(text)
    print(text)
    path = cluster_directory(args) / f"{request.name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text)
    return path


def check_sweep(args: argparse.Namespace, text: str) -> dict[str, Any]:
    """Whether the sweep's configuration is right, and a run fits the cluster; says how many do.

    Returns the cluster file.
    """
    from metta_sweep.capacity import counted
    from metta_sweep.config import load_sweep_job
    from metta_sweep.launch.checks import check_cluster_file, check_fit
    from metta_sweep.launch.cluster_files import worker_nodes
    from metta_sweep.launch.jobs import environment_of

    config = check_cluster_file(text)
    nodes = worker_nodes(config)
    environ = environment_of(nodes) | args.environ
    job = load_sweep_job(args.overrides, environ, args.config_dirs)
    slots = check_fit(config, job.resources)
    if slots is not None:
        print(f"{job.sweep_name}: {counted(slots, 'run')} at a time on {counted(len(nodes), 'worker')}")
    return config


def sweep_name_of(args: argparse.Namespace) -> str:
    from metta_sweep.config.registered import load_location

    return load_location(args.overrides, args.environ, args.config_dirs).sweep_name


def cluster_directory(args: argparse.Namespace) -> Path:
    """Where cluster files are kept on this machine."""
    from metta_sweep.config.registered import load_location

    location = load_location([], os.environ, need_sweep=False)
    os.umask(location.umask)
    directory: Path = args.data_dir or location.data_dir
    return directory / "cluster"


def cluster_path(args: argparse.Namespace) -> Path:
    """The file of the cluster that the flags name, or of the only one there is.

    Raises:
        ConfigError: there is none, or more than one.
    """
    if args.cluster_file is not None:
        return Path(args.cluster_file)
    directory = cluster_directory(args)
    if args.name:
        return directory / f"{args.name}.yaml"
    there = sorted(directory.glob("*.yaml"))
    if not there:
        raise ConfigError(f"--name: no cluster in {directory}; bring one up with `cluster up`")
    if len(there) > 1:
        raise ConfigError(f"--name: which of {', '.join(path.stem for path in there)}?")
    return there[0]


@contextmanager
def reached(args: argparse.Namespace) -> Iterator[JobSubmissionClient]:
    """The job API of the cluster that the flags name, through a tunnel unless an address is given."""
    from metta_sweep.launch.clusters import open_cluster, token_path, tunnel
    from metta_sweep.launch.jobs import job_client

    if args.address:
        token = os.environ.get("RAY_AUTH_TOKEN", "")
        if not token and token_path().exists():
            token = token_path().read_text(encoding="utf-8").strip()
        with job_client(args.address, token) as client:
            yield client
        return
    cluster = open_cluster(cluster_path(args))
    with tunnel(cluster) as address, job_client(address, cluster.token()) as client:
        yield client
