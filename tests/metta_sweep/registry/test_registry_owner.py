"""A lease is taken over at once only from an owner that is certainly dead."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from metta_sweep.registry.api import Registry
from metta_sweep.registry.owner import current_owner, is_dead
from tests.metta_sweep.registry.registry_backends import reserve

HERE = current_owner()
MACHINE, BOOT, NAMESPACE = HERE.boot_id.split(".")


def test_this_process_is_alive_and_known_by_the_same_name_each_time() -> None:
    assert not is_dead(HERE)
    assert current_owner() == HERE
    assert HERE.pid == os.getpid()


@pytest.mark.parametrize("reaped", [True, False], ids=["gone", "zombie"])
def test_a_killed_process_is_dead_whether_its_parent_noticed_or_not(reaped: bool) -> None:
    code = (
        "from metta_sweep.registry.owner import current_owner as c; o = c(); print(o.pid, o.started, flush=True); "
        "input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        pid, started = child.stdout.readline().split()
        owner = replace(HERE, pid=int(pid), started=float(started))
        assert not is_dead(owner)
        child.kill()
        child.wait() if reaped else os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert is_dead(owner)


def test_a_pid_that_is_used_anew_does_not_keep_its_first_owner_alive() -> None:
    assert is_dead(replace(HERE, started=HERE.started - 1))


@pytest.mark.skipif(
    not MACHINE, reason="without a machine id a reboot cannot be told from another machine of the same name"
)
def test_the_same_machine_after_a_reboot_has_no_old_owners() -> None:
    assert is_dead(replace(HERE, boot_id=f"{MACHINE}.another-boot.{NAMESPACE}"))


def test_nothing_is_known_about_other_hosts_machines_and_containers() -> None:
    gone = replace(HERE, started=HERE.started - 1)
    assert not is_dead(replace(gone, host="elsewhere"))
    assert not is_dead(replace(gone, boot_id=f"another-machine.another-boot.{NAMESPACE}"))
    assert not is_dead(replace(gone, boot_id=f".another-boot.{NAMESPACE}"))
    assert not is_dead(replace(gone, boot_id=f"{MACHINE}.{BOOT}.pid:[1]"))


def test_runs_of_a_dead_owner_on_this_host_are_claimed_before_their_lease_is_over(registry: Registry) -> None:
    dead = replace(HERE, started=HERE.started - 1)
    run = reserve(registry, owner=dead)
    reserve(registry, owner=HERE)
    claimed = registry.claim("s", replace(HERE, started=HERE.started + 1), lease_seconds=300, key="c")
    assert [claimed_run.id for claimed_run in claimed] == [run.id]
