"""Runs a scenario again and again, each time with an event before another step of the event loop."""

import asyncio
import gc
import logging
import random
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any, Final

from attrs import define, field

from tests.support.fakes import listen, other_tasks
from tests.support.virtual_time import VirtualTimeLoop

_COLLECT_EVERY: Final = 50
_GAPS: Final = (1, 1, 2, 3, 5, 8, 13, 30, 60)


class Steps(deque[Any]):
    """The callbacks that are ready in a loop; before some of them, something else happens.

    A step is what runs between two looks of the loop at its queue: a task's stretch from one await to the
    next, a timer, a callback. So an event can come before and after each of them, and never within one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.passed = 0
        self.is_counted = False
        self.events: dict[int, Callable[[], object]] = {}

    def popleft(self) -> Any:
        if self.is_counted:
            event = self.events.pop(self.passed, None)
            self.passed += 1
            if event is not None:
                event()
        return super().popleft()


class StepLoop(VirtualTimeLoop):
    """A loop in virtual time that counts its steps."""

    patience = 0.0
    """No thread is there to wait for."""

    def __init__(self) -> None:
        super().__init__()
        # What asyncio's own loops take their callbacks from, in every release up to now.
        self._ready = self.steps = Steps()


class _Errors(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(logging.Formatter().format(record))


@define
class Stage:
    """What a scenario plays on: it says which steps count, and what is wrong in the end."""

    loop: StepLoop
    may_log: tuple[str, ...] = ()
    """How the errors begin that are logged for a reason."""
    scene: Any = None
    """What the events happen to."""
    began_at: float = 0.0
    main: "asyncio.Task[Any] | None" = None

    def begin(self) -> None:
        """Count the steps from here on; the scenario itself runs in the task that is the current one."""
        self.began_at = self.loop.time()
        self.main = asyncio.current_task()
        self.loop.steps.is_counted = True

    def end(self) -> None:
        self.loop.steps.is_counted = False

    @property
    def timers(self) -> list[asyncio.TimerHandle]:
        scheduled: list[asyncio.TimerHandle] = self.loop._scheduled  # type: ignore[attr-defined] # asyncio's own
        return [timer for timer in scheduled if not timer.cancelled()]


@define
class Call:
    """A call, and how it has to end."""

    task: asyncio.Task[Any]
    expected: Any = None
    keys: tuple[int, ...] = ()
    excuses: tuple[type[BaseException], ...] = ()
    """How it may end instead."""

    def check(self, name: str) -> None:
        assert self.task.done(), f"{name} hangs"
        if self.task.cancelled():
            assert asyncio.CancelledError in self.excuses, f"{name}: cancelled"
        elif (error := self.task.exception()) is not None:
            assert isinstance(error, self.excuses), f"{name}: {error!r}"
        else:
            assert self.task.result() == self.expected, f"{name}: {self.task.result()}"

    @property
    def is_well(self) -> bool:
        return self.task.done() and not self.task.cancelled() and self.task.exception() is None


Play = Callable[[Stage], Coroutine[Any, Any, None]]
Event = Callable[[Stage], object]


def event(method: Callable[..., object], *arguments: object) -> Event:
    """Return what calls a method of the scene."""
    return lambda stage: method(stage.scene, *arguments)


def perform(play: Play, events: Mapping[int, tuple[str, Event]]) -> int:
    """Play a scenario with events before some steps; return how many steps it took."""
    random.seed(1)
    errors, noise = _Errors(), list[dict[str, Any]]()
    logger = logging.getLogger("statuslookup")
    logger.addHandler(errors)
    try:
        with asyncio.Runner(loop_factory=StepLoop) as runner:
            loop = runner.get_loop()
            assert isinstance(loop, StepLoop)
            stage = Stage(loop)
            for step, (_, event) in events.items():
                loop.steps.events[step] = partial(event, stage)
            runner.run(_whole(play, stage, noise))
            steps = loop.steps.passed
    finally:
        logger.removeHandler(errors)
    unexpected = [text for text in errors.records if not text.startswith(stage.may_log or ("\0",))]
    assert unexpected == [], unexpected
    assert noise == [], noise
    return steps


async def _whole(play: Play, stage: Stage, noise: list[dict[str, Any]]) -> None:
    listen(noise)
    await play(stage)
    stage.end()
    # What was told to end comes to it.
    for _ in range(10):
        await asyncio.sleep(0)
    assert other_tasks() == set(), other_tasks()
    assert stage.timers == [], stage.timers


@define
class Explorer:
    """Plays a scenario with events before each of its steps, and collects what was wrong."""

    play: Play
    faults: list[str] = field(factory=list)
    runs: int = 0
    _steps: int = 0

    def steps(self) -> int:
        """Return how many steps the scenario takes when nothing happens."""
        self._steps = self._steps or perform(self.play, {})
        # If asyncio took its callbacks from elsewhere, no event would happen, and all would seem well.
        assert self._steps > 0, "no step was counted"
        return self._steps

    def try_each(self, name: str, event: Event, *, every: int = 1) -> None:
        """Let an event come before each step in turn, or before every so many of them."""
        for step in range(0, self.steps(), every):
            self._try({step: (name, event)})

    def try_pairs(self, events: Mapping[str, Event], runs: int) -> None:
        """Let two events come, a few steps apart or many: so many pairs, always the same ones."""
        choice, steps, names = random.Random(1), self.steps(), list(events)
        for _ in range(runs):
            first, second, step = choice.choice(names), choice.choice(names), choice.randrange(steps)
            gap = choice.choice(_GAPS)
            self._try({step: (first, events[first]), step + gap: (second, events[second])})

    def _try(self, plan: Mapping[int, tuple[str, Event]]) -> None:
        self.runs += 1
        try:
            perform(self.play, plan)
            if self.runs % _COLLECT_EVERY == 0:
                # What nobody took is reported when its garbage is collected.
                gc.collect()
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 # whatever it is, it is collected
            what = ", ".join(f"{name} before step {step}" for step, (name, _) in plan.items())
            self.faults.append(f"{what}: {type(error).__name__}: {str(error).partition(chr(10))[0][:300]}")

    def check(self) -> None:
        assert self.faults == [], "\n".join([f"{len(self.faults)} of {self.runs} runs", *self.faults[:20]])
