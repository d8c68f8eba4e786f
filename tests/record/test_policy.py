"""When looks are taken, simulated with a clock of our own."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from epochal.record.policy import ADVANCE_OTHERWISE_SECONDS, ADVANCE_SECONDS, AIM, Account, Look, Policy, Snapshots


def simulate(
    policy: Policy,
    calls: Iterable[tuple[int, float | None]],
    *,
    seconds_per_call: float,
    cost: float,
) -> tuple[list[int], list[int]]:
    """Steps of looks and of snapshots, when every look costs `cost`, half of it in the writer."""
    looks, snapshots = [], []
    now = 0.0
    for step, epoch in calls:
        now += seconds_per_call
        policy.account.loop = now
        if not (now >= policy.due_time or step >= policy.due_step or epoch is not None):
            continue
        look = policy.decide(step, epoch, now)
        if look.statistics or look.snapshot:
            policy.account.paid(cost / 2)
            policy.account.digest(cost / 2, 1)
            policy.took(step, look, now)
            if look.statistics:
                looks.append(step)
            if look.snapshot:
                snapshots.append(step)
    return looks, snapshots


def policy(snapshots: Snapshots = "epoch", budget: float = 0.02) -> Policy:
    return Policy(snapshots, Account(budget=budget))


def test_a_short_training_of_a_small_network_keeps_every_step() -> None:
    looks, snapshots = simulate(policy(), [(k, None) for k in range(150)], seconds_per_call=0.001, cost=0.0006)
    assert looks == snapshots == list(range(150))


@pytest.mark.parametrize("cost", [0.0003, 0.003, 0.05])
def test_a_long_training_stays_within_the_budget(cost: float) -> None:
    chosen = policy()
    looks, _ = simulate(chosen, [(k, None) for k in range(60_000)], seconds_per_call=0.001, cost=cost)
    advance = ADVANCE_SECONDS if cost < 0.0008 else ADVANCE_OTHERWISE_SECONDS
    assert len(looks) * cost <= AIM * 0.02 * 60 + advance + cost
    assert len(looks) * cost >= AIM * 0.02 * 60 * 0.9 - cost


def test_every_epoch_gets_a_snapshot_whatever_it_costs() -> None:
    calls = [(step, float(step // 10)) for step in range(1000)]
    looks, snapshots = simulate(policy(), calls, seconds_per_call=0.001, cost=0.05)
    assert snapshots == list(range(0, 1000, 10))
    assert looks == snapshots


def test_between_epochs_cheap_looks_go_on_without_snapshots() -> None:
    calls = [(step, float(step // 1000)) for step in range(3000)]
    looks, snapshots = simulate(policy(), calls, seconds_per_call=0.01, cost=0.001)
    assert snapshots == [0, 1000, 2000]
    assert len(looks) > 300


def test_fractional_epochs_count_when_a_whole_one_is_passed() -> None:
    _, snapshots = simulate(policy(), [(k, k / 4) for k in range(17)], seconds_per_call=1.0, cost=1.0)
    assert snapshots == [0, 4, 8, 12, 16]


def test_every_n_steps_exactly() -> None:
    _, snapshots = simulate(policy(25), [(k, None) for k in range(101)], seconds_per_call=0.001, cost=0.05)
    assert snapshots == [0, 25, 50, 75, 100]


def test_every_n_steps_where_only_some_steps_are_logged() -> None:
    calls: list[tuple[int, float | None]] = [(k, None) for k in range(0, 101, 10)]
    _, snapshots = simulate(policy(25), calls, seconds_per_call=0.001, cost=0.05)
    assert snapshots == [0, 30, 50, 80, 100]


def test_none_takes_no_snapshot_but_looks() -> None:
    looks, snapshots = simulate(policy(None), [(k, None) for k in range(500)], seconds_per_call=0.01, cost=0.0005)
    assert looks
    assert snapshots == []


def test_several_calls_of_one_step_are_one_look() -> None:
    calls = [(k // 3, float(k // 3)) for k in range(30)]
    looks, snapshots = simulate(policy(), calls, seconds_per_call=0.01, cost=0.0001)
    assert looks == snapshots == list(range(10))


def test_without_a_budget_only_asked_looks_are_taken_after_the_advance() -> None:
    looks, _ = simulate(policy(budget=0.0), [(k, None) for k in range(5000)], seconds_per_call=0.01, cost=0.003)
    assert 0 < len(looks) < 20


def test_snapshots_that_nobody_asked_for_grow_scarce() -> None:
    chosen = policy(budget=1.0)
    chosen.bytes = 128 << 20
    _, snapshots = simulate(chosen, [(k, None) for k in range(20_000)], seconds_per_call=1.0, cost=0.001)
    assert snapshots[:30] == list(range(30))
    assert len(snapshots) < 32 * 10
    assert snapshots[-1] > 19_000


def test_a_look_between_is_prepared_one_call_earlier() -> None:
    chosen = policy()
    chosen.account.caller = ADVANCE_SECONDS + 1.0
    chosen.ready = False
    assert chosen.decide(0, None, 0.0) == Look()
    assert 50 < AIM * chosen.due_time < 60
    chosen.account.loop = 100.0
    assert chosen.decide(1, None, 100.0).arm
    assert chosen.decide(2, None, 100.1).statistics


def test_one_slow_look_does_not_end_looking() -> None:
    account = Account()
    for cost in (0.0001, 0.0001, 0.5, 0.0001, 0.0001):
        account.paid(cost)
        account.digest(0.0001, 1)
    assert account.per_look < 0.001


def at_a_distance(every: int, budget: float | None, *, cost: float, steps: int) -> tuple[list[int], list[int]]:
    """Steps of looks, and of calls that prepared one."""
    chosen = Policy(None, Account(budget=budget), every)
    looks, armed = [], []
    now = 0.0
    for step in range(steps):
        now += 0.01
        chosen.account.loop = now
        if now >= chosen.due_time or step >= chosen.due_step:
            look = chosen.decide(step, None, now)
            if look.arm:
                armed.append(step)
            elif look.statistics:
                chosen.account.paid(cost)
                chosen.account.digest(0.0, 1)
                chosen.took(step, look, now)
                looks.append(step)
    return looks, armed


def test_without_a_budget_all_multiples_are_looked_at_and_prepared_one_call_earlier() -> None:
    looks, armed = at_a_distance(10, None, cost=1.0, steps=100)
    assert looks == list(range(0, 100, 10))
    assert armed == list(range(9, 100, 10))


def test_with_a_budget_only_multiples_are_looked_at_and_not_all() -> None:
    looks, armed = at_a_distance(10, 0.02, cost=0.0043, steps=10_000)
    assert all(step % 10 == 0 for step in looks)
    assert len({step - 1 for step in looks} & set(armed)) > 0.85 * len(looks)
    assert len(armed) < 3 * len(looks)
    assert len(looks) * 0.0043 <= 0.02 * 100 + ADVANCE_OTHERWISE_SECONDS + 0.0043
    assert len(looks) > 300


def test_without_a_budget_every_call_is_looked_at() -> None:
    looks, armed = at_a_distance(1, None, cost=1.0, steps=50)
    assert looks == list(range(50))
    assert not armed


def test_a_distance_is_kept_where_steps_are_logged_unevenly() -> None:
    chosen = Policy(None, Account(budget=None), 10)
    looks = []
    for now, step in enumerate([0, 3, 8, 11, 14, 19, 27, 33, 34, 52, 53]):
        if now >= chosen.due_time or step >= chosen.due_step:
            look = chosen.decide(step, None, float(now))
            if look.statistics:
                chosen.took(step, look, float(now))
                looks.append(step)
    assert looks == [0, 11, 27, 33, 52]


def test_a_period_that_finds_no_memory_is_skipped_once() -> None:
    chosen = policy(10)
    skipped = []
    for step in range(30):
        look = chosen.decide(step, None, step / 100) if step >= chosen.due_step else Look()
        if look.snapshot:
            skipped.append(step)
            chosen.skip(step / 100)
    assert skipped == [0, 10, 20]
    assert chosen.skipped == 3


def test_a_bound_on_the_disk_makes_snapshots_that_nobody_asked_for_scarce() -> None:
    counts = []
    for disk in (None, 40 << 20):
        chosen = Policy("epoch", Account(budget=1.0), disk=disk, bytes=1 << 20)
        _, snapshots = simulate(chosen, [(k, None) for k in range(4000)], seconds_per_call=1.0, cost=0.001)
        counts.append(len(snapshots))
    assert counts[0] > 2000
    assert counts[1] < 300
