"""The worker in its own process and the supervisor of both kinds: dying, hanging, restarting, giving up."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import psutil  # type: ignore[import-untyped]
import pytest

from inference import supervisor, transport
from inference.engine import EngineConfig, LocalEngine
from inference.errors import EngineUnavailable
from inference.supervisor import DIED, GAVE_UP, GPU_LOST, HUNG, restart_delay
from inference.transport import ProcessLife, uses_process
from inference.types import (
    EngineHealth,
    FinishReason,
    ModelStage,
    ModelStatus,
    SamplingParams,
    Timings,
    TokenEvent,
    TokensFinished,
    TokensGenerated,
    TokensStarted,
    Usage,
)
from inference.worker.messages import Cancel, Close, Command, Events, Limits, Load, Report, State, Submit
from tests.inference import faulty_worker
from tests.inference.checkpoints import generate, plain_checkpoint, prompt, write_checkpoint
from tests.inference.engines import (
    PATIENCE,
    break_worker,
    collect,
    config,
    down,
    failed,
    idle,
    lasting,
    ready,
    request,
    run,
    running,
)

FAULTY = "tests.inference.faulty_worker:FaultyWorker"
LIGHT = "tests.inference.light_workers"
MODES = pytest.mark.parametrize("mode", ["thread", "process"])


@pytest.fixture(scope="module")
def engine() -> Iterator[LocalEngine]:
    """A worker in its own process takes seconds to start, so these tests share one."""
    with lasting(
        plain_checkpoint(), isolation="process", worker=FAULTY, max_running=4, queue_limit=30, step_limit=3
    ) as engine:
        yield engine


@pytest.fixture(autouse=True)
def _forget_deaths(request: pytest.FixtureRequest) -> Iterator[None]:
    """The shared engine dies oftener than one in service may."""
    yield
    if "engine" in request.fixturenames:
        request.getfixturevalue("engine")._supervisor._deaths.clear()


def light(worker: str, mode: str, **changes: Any) -> LocalEngine:
    engine = LocalEngine(config("demo", worker=f"{LIGHT}:{worker}", isolation=mode, **changes))
    engine.start()
    return engine


def worker_processes() -> list[psutil.Process]:
    """The workers that this process started, dead ones that nobody has waited for included."""
    found = []
    for child in psutil.Process().children():
        if child.status() == psutil.STATUS_ZOMBIE or "spawn_main" in " ".join(child.cmdline()):
            found.append(child)
    return found


def inference_threads() -> list[str]:
    return sorted(each.name for each in threading.enumerate() if each.name.startswith("inference-"))


def errors(events: list[TokenEvent]) -> list[tuple[FinishReason, str | None, str | None]]:
    return [(e.finish_reason, e.error_code, e.error) for e in events if isinstance(e, TokensFinished)]


async def test_a_killed_worker_ends_every_stream_once_and_the_next_one_answers(engine: LocalEngine) -> None:
    streams = [
        engine.submit(request(f"r{number}", prompt(number, 9), max_tokens=1500)) for number in range(8)
    ]
    await anext(streams[0])
    (child,) = worker_processes()
    child.kill()
    for stream in streams:
        assert errors(await collect(stream)) == [(FinishReason.ERROR, "engine_died", DIED.sentence)]
    with pytest.raises(EngineUnavailable) as caught:
        engine.submit(request("early"))
    assert str(caught.value) == DIED.sentence
    await ready(engine)
    tokens, _end = await run(engine, request("late"))
    assert tokens == generate(plain_checkpoint(), (1, 2, 3), 20)
    assert [list(stream._events) for stream in streams] == [[]] * 8, "nothing comes after the last event"  # type: ignore[attr-defined]
    health = engine.health()
    assert (health.alive, health.running, health.waiting, health.target) == (True, 0, 0, None)


async def test_a_process_whose_gpu_is_lost_is_replaced(
    engine: LocalEngine, caplog: pytest.LogCaptureFixture
) -> None:
    other = engine.submit(request("other", max_tokens=1500))
    await anext(other)
    fatal = engine.submit(request("fatal", (faulty_worker.LOSE_DEVICE,)))
    for stream in (other, fatal):
        assert errors(await collect(stream)) == [(FinishReason.ERROR, "engine_died", DIED.sentence)]
    assert "DeviceLost" in caplog.text, "the log of the other process comes into this one's"
    await ready(engine)
    await run(engine, request("other"))


async def test_a_step_that_hangs_is_ended(engine: LocalEngine) -> None:
    (before,) = worker_processes()
    streams = [engine.submit(request("hangs", (faulty_worker.HANG,))), engine.submit(request("waits"))]
    for stream in streams:
        assert errors(await collect(stream)) == [(FinishReason.ERROR, "engine_died", HUNG.sentence)]
    await ready(engine)
    await run(engine, request("waits"))
    (after,) = worker_processes()
    assert after.pid != before.pid


async def test_the_model_that_was_asked_for_last_comes_back(tmp_path: Path) -> None:
    other, broken = (write_checkpoint(tmp_path / name, seed=5) for name in ("other", "broken"))
    (broken / "model.safetensors").write_bytes(b"nothing")
    async with running(plain_checkpoint(), isolation="thread") as engine:
        await engine.load(str(other))
        await ready(engine, "other")
        for failing in (False, True):
            if failing:
                await engine.load(str(broken))
                await failed(engine)
            break_worker(engine)
            await down(engine)
            await ready(engine)
            tokens, _end = await run(engine, request("a"))
            assert tokens == generate(other, (1, 2, 3), 20)


async def test_ctrl_c_is_for_the_parent_alone(engine: LocalEngine) -> None:
    stream = engine.submit(request("a", max_tokens=300))
    await anext(stream)
    (child,) = worker_processes()
    child.send_signal(signal.SIGINT)
    assert errors(await collect(stream)) == [(FinishReason.LENGTH, None, None)]
    await idle(engine)


async def test_a_thread_that_hangs_is_replaced_and_what_it_says_later_is_dropped() -> None:
    faulty_worker.go_on.clear()
    wanted = config(plain_checkpoint(), isolation="thread", worker=FAULTY, step_limit=2)
    engine = LocalEngine(wanted)
    engine.start()
    await ready(engine)
    hanging = engine.submit(request("same", (faulty_worker.HANG,)))
    assert errors(await collect(hanging)) == [(FinishReason.ERROR, "engine_died", HUNG.sentence)]
    await ready(engine)
    assert inference_threads().count("inference-worker") == 2
    stream = engine.submit(request("same", max_tokens=100))
    faulty_worker.go_on.set()
    tokens = [e.token_ids for e in await collect(stream) if isinstance(e, TokensGenerated)]
    assert sum(tokens, ()) == generate(plain_checkpoint(), (1, 2, 3), 100)
    await engine.close()
    async with asyncio.timeout(PATIENCE):
        while "inference-worker" in inference_threads():  # noqa: ASYNC110 - a thread has no asyncio.Event
            await asyncio.sleep(0.01)


async def test_a_lost_gpu_cannot_be_had_again_by_a_thread() -> None:
    engine = LocalEngine(config(plain_checkpoint(), isolation="thread", worker=FAULTY))
    engine.start()
    await ready(engine)
    stream = engine.submit(request("a", (faulty_worker.LOSE_DEVICE,)))
    assert errors(await collect(stream)) == [(FinishReason.ERROR, "engine_died", GPU_LOST.sentence)]
    with pytest.raises(EngineUnavailable) as caught:
        engine.submit(request("b"))
    assert str(caught.value) == GPU_LOST.sentence
    assert not engine.health().alive
    await engine.close()


@MODES
async def test_a_worker_that_cannot_live_is_given_up(mode: str, caplog: pytest.LogCaptureFixture) -> None:
    processes = worker_processes()
    engine = light("Stillborn", mode, restart_delay=0.001)
    async with asyncio.timeout(PATIENCE):
        while engine.health().alive:  # noqa: ASYNC110 - another thread decides
            await asyncio.sleep(0.01)
    target = engine.health().target
    assert target is not None
    assert (target.stage, target.note, target.error_code) == (
        ModelStage.FAILED,
        GAVE_UP.sentence,
        "engine_died",
    )
    with pytest.raises(EngineUnavailable, match="5 times within 10 minutes"):
        engine.submit(request("a"))
    assert caplog.text.count("RuntimeError: born dead") == 5
    await engine.close()
    assert worker_processes() == processes


def test_each_restart_waits_twice_as_long_up_to_half_a_minute() -> None:
    assert [restart_delay(1.0, deaths) for deaths in range(1, 8)] == [1, 2, 4, 8, 16, 30, 30]


@MODES
async def test_closing_leaves_nothing_behind(mode: str) -> None:
    processes, threads = worker_processes(), inference_threads()
    engine = light("Counter", mode)
    await ready(engine)
    assert inference_threads() != threads
    events = await collect(engine.submit(request("a", (1, 2, 3, 4))))
    assert [event.usage.prompt for event in events if isinstance(event, TokensFinished)] == [4]
    await engine.close()
    await engine.close()
    assert worker_processes() == processes
    assert inference_threads() == threads
    with pytest.raises(EngineUnavailable):
        engine.submit(request("late"))


async def test_a_process_that_does_not_want_to_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "CLOSE_TIMEOUT", 1.0)
    monkeypatch.setattr(supervisor, "LONGEST_WAIT", 0.1)
    monkeypatch.setattr(transport, "END_TIMEOUT", 0.2)
    processes = worker_processes()
    engine = light("Deaf", "process")
    await ready(engine)
    await engine.close()
    assert worker_processes() == processes


async def test_a_command_never_waits_for_the_worker() -> None:
    processes = worker_processes()
    engine = light("Counter", "process", queue_limit=100)
    await ready(engine)
    (child,) = [child for child in worker_processes() if child not in processes]
    child.suspend()
    ids = tuple(range(300)) * 300
    streams = [engine.submit(request(f"r{number}", ids)) for number in range(10)]
    child.resume()
    for stream in streams:
        events = await collect(stream)
        assert [event.usage.prompt for event in events if isinstance(event, TokensFinished)] == [90_000]
    await engine.close()


PARENT = """
import asyncio, multiprocessing, sys, time
from inference.engine import LocalEngine
from tests.inference.engines import config, ready

if __name__ == "__main__":
    engine = LocalEngine(config("demo", isolation="process", worker=sys.argv[1]))
    engine.start()
    asyncio.run(ready(engine))
    print(multiprocessing.active_children()[0].pid, flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("worker", ["Counter", "Frozen"])
def test_the_worker_ends_with_its_parent(worker: str, tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    root = Path(__file__).parents[2]
    parent = subprocess.Popen(
        [sys.executable, str(script), f"{LIGHT}:{worker}"],
        env={**os.environ, "PYTHONPATH": str(root)},
        stdout=subprocess.PIPE,
        text=True,
    )
    with parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    gone, _alive = psutil.wait_procs([child], timeout=PATIENCE)
    assert gone == [child]


def test_a_process_that_cannot_be_started_leaves_nothing() -> None:
    before = inference_threads()
    unfit: Any = lambda: None  # noqa: E731 - cannot travel
    life = ProcessLife(config("demo", demo_folder=unfit), lambda _life, _report: None)
    with pytest.raises((AttributeError, pickle.PicklingError)):
        life.start()
    life.stop()
    assert inference_threads() == before


@pytest.mark.parametrize(
    ("isolation", "device", "nodes", "process"),
    [
        ("auto", None, [], False),
        ("auto", None, ["null", "nvidiactl", "nvidia-uvm"], False),
        ("auto", None, ["nvidia0"], True),
        ("auto", None, ["dxg"], True),
        ("auto", "cpu", ["nvidia0"], False),
        ("auto", "cuda", [], True),
        ("thread", "cuda", ["nvidia0"], False),
        ("process", "cpu", [], True),
    ],
)
def test_a_gpu_is_the_reason_for_a_process(
    tmp_path: Path, isolation: Any, device: str | None, nodes: list[str], process: bool
) -> None:
    for node in nodes:
        (tmp_path / node).touch()
    assert uses_process(isolation, device, tmp_path) is process


STATUS = ModelStatus("m", ModelStage.READY, note="A note.", parameters=3, context_length=10)
TIMINGS = Timings(0.1, 0.2, 0.3, 4.0)
EVENTS: tuple[TokenEvent, ...] = (
    TokensStarted("a", "m", "r", 7),
    TokensGenerated("a", (1, 2)),
    TokensFinished("a", FinishReason.ERROR, Usage(1, 2), TIMINGS, "Sorry.", "engine_died"),
)
SAMPLES: list[Command | Report] = [
    Submit(request("a", (1, 2), seed=5, top_p=0.5, stop_token_ids=(3,)), "m", 1.5),
    Cancel("a"),
    Load("demo"),
    Close(),
    State(EngineHealth(True, STATUS, STATUS, 1, 2, 3), {"m": Limits(320, 100)}, 4),
    Events(EVENTS),
]


def test_everything_that_crosses_the_border_can_travel() -> None:
    assert {type(sample) for sample in SAMPLES} == {*get_args(Command), *get_args(Report)}
    assert {type(event) for event in EVENTS} == set(get_args(TokenEvent))
    for value in (*SAMPLES, *EVENTS, EngineConfig(demo_folder=Path("x")), SamplingParams()):
        assert pickle.loads(pickle.dumps(value)) == value  # noqa: S301 - our own bytes
