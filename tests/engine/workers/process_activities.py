"""Activities for the tests of worker processes, which load this file by its name."""

import asyncio
import functools
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from typing import Any

import durablecli as df


class Declined(Exception):
    """An exception that can't be created from its arguments alone, nor pickled."""

    def __init__(self, reason: str, *, code: int) -> None:
        super().__init__(reason)
        self.code = code


class Silent(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@df.activity(executor="process")
def raises(kind: str) -> None:
    match kind:
        case "declined":
            raise Declined("no funds", code=51)
        case "surrogate":
            raise ValueError("lone \udc80 surrogate")
        case "silent":
            raise Silent
        case "exit":
            sys.exit(3)
        case "interrupt":
            raise KeyboardInterrupt
        case "long":
            raise ValueError("x" * 1_000_000)


@df.activity(executor="process")
def returns(kind: str) -> Any:
    return {"object": object(), "nan": float("nan"), "surrogate": "\udc80", "large": "x" * 5_000_000}[kind]


@df.activity(executor="process")
def dies(value: int) -> None:
    os._exit(value)


@df.activity(executor="process")
def reads(how: str) -> str:
    if how == "input":
        return input()
    if how == "stdin":
        return sys.stdin.read()
    return subprocess.run(["cat"], capture_output=True, text=True, check=True).stdout


@df.activity(executor="process")
def writes(how: str) -> int:
    text = '{"result":1}\n'
    if how == "print":
        print(text * 10_000)
    elif how == "descriptor":
        os.write(1, text.encode())
    elif how == "subprocess":
        subprocess.run(["echo", text], check=True)
    return 7


@df.activity(executor="process")
def descriptors(value: Any) -> list[str]:
    """What a program that an activity starts has open beside the standard streams."""
    code = "import os; print([fd for fd in range(3, 64) if os.path.exists(f'/dev/fd/{fd}')][:-1])"
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, close_fds=False
    ).stdout.split()


@df.activity(executor="process")
def forks(value: int) -> int:
    """A child by a bare fork that returns from the activity, and one of multiprocessing that outlives it."""
    child = os.fork()
    if child == 0:
        return -1
    os.waitpid(child, 0)
    multiprocessing.get_context("fork").Process(target=time.sleep, args=(30,), daemon=True).start()
    return value


@df.activity(executor="process")
def forks_and_dies(path: str) -> None:
    """The child would hold the pipe to the engine open."""
    if os.fork() == 0:
        time.sleep(60)
        os._exit(0)
    with open(path, "a", encoding="utf-8") as file:
        file.write("x")
    os._exit(9)


@df.activity(executor="process")
def moves(folder: str) -> str:
    before = os.getcwd()
    os.chdir(folder)
    return before


@df.activity(executor="process")
async def waits(value: int) -> int:
    await asyncio.sleep(0.01)
    return value * 3


@df.activity(name="plain_over_async", executor="process")
@functools.partial
def _plain_over_async(value: int) -> Any:
    async def inner() -> int:
        return value * 3

    return inner()


@df.activity(executor="process")
def lingers(path: str, context: df.ActivityContext) -> str:
    """Start a program, record both process ids, and run until cancelled."""
    child = subprocess.Popen(["sleep", "1000"])
    with open(path, "a", encoding="utf-8") as file:
        file.write(f"{os.getpid()} {child.pid}\n")
    while not context.cancelled:
        time.sleep(0.01)
    child.kill()
    child.wait()
    return "stopped"


@df.activity(executor="process")
def leaves_a_thread(value: int) -> int:
    threading.Thread(target=time.sleep, args=(1000,)).start()
    return os.getpid()


@df.activity(executor="process")
def imports(name: str) -> str:
    return str(getattr(__import__(name), "__file__", ""))
