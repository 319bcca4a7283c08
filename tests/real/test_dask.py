"""`replay --scheduler` on a real Dask scheduler with real workers: the numbers of one machine, whatever dies."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from gateway.__main__ import main
from tests.real.gateway import command, eventually, gateway
from tests.real.mosquitto import HOST, Authority, free_port
from tests.recordings import tone, write_wav

Done = subprocess.CompletedProcess[str]
ROOT = Path(__file__).parents[2]
CALIBRATION = """
schema = 1
created = 2026-01-01
node = "co2_concentration"
phase_deg = 0.0
background = {re = 0.0, im = 0.0}
curve = {type = "line", slope = 2e-5, covariance = [[1e-16, 0], [0, 1e-16]], max_ppm = 20000}
"""
AT_THE_GATE = """
import os, time
from pathlib import Path
from gateway import fleet

def wait(*arguments, compute=fleet.recompute):
    Path(os.environ["GATE"], "reached").touch()
    while not Path(os.environ["GATE"], "open").exists():
        time.sleep(0.02)
    return compute(*arguments)

fleet.recompute = wait
"""
"""A worker's preload: its tasks wait in the middle until somebody opens the gate."""
DYING = """
import os, signal
from pathlib import Path
from gateway import fleet

def die(job, given):
    Path(os.environ["GATE"], "died").write_text(job.path)
    os.kill(os.getpid(), signal.SIGKILL)

fleet.recompute = die
"""
"""A worker's preload: its first task is its last."""


class Fleet:
    """A scheduler and its workers, processes of their own."""

    def __init__(self, directory: Path, scheme: str = "tcp", environ: Mapping[str, str] | None = None) -> None:
        self.directory = directory
        self.gate, self.reached = directory / "open", directory / "reached"
        self.environ = {**os.environ, "PYTHONPATH": str(ROOT), "GATE": str(directory), **(environ or {})}
        self.address = f"{scheme}://{HOST}:{free_port()}"
        self._processes: list[subprocess.Popen[bytes]] = []
        port = self.address.rpartition(":")[2]
        said = self.run("scheduler", "--protocol", scheme, "--host", HOST, "--port", port, "--no-jupyter")
        self.scheduler = self._processes[-1]
        eventually(lambda: "Scheduler at:" in said.read_text(), f"scheduler: {said.read_text()}")

    def worker(self, preload: str = "", **environ: str) -> subprocess.Popen[bytes]:
        """One more worker, of one thread, ready to work."""
        extra = []
        if preload:
            file = self.directory / f"preload_{len(self._processes)}.py"
            file.write_text(preload)
            extra = ["--preload", str(file)]
        room = ["--local-directory", str(self.directory / "scratch")]
        said = self.run("worker", self.address, "--nthreads", "1", "--no-nanny", *room, *extra, **environ)
        eventually(lambda: "Starting established connection" in said.read_text(), f"worker: {said.read_text()}")
        return self._processes[-1]

    def run(self, part: str, *arguments: str, **environ: str) -> Path:
        """Start `dask PART`; the file of what it says."""
        said = self.directory / f"{part}_{len(self._processes)}.log"
        with said.open("wb") as stream:
            words = [sys.executable, "-m", f"distributed.cli.dask_{part}", *arguments, "--no-dashboard"]
            self._processes.append(
                subprocess.Popen(words, env={**self.environ, **environ}, stdout=stream, stderr=stream, cwd="/")
            )
        return said

    def ask(self, function: Callable[..., Any]) -> Any:
        """What the function gives on the scheduler."""
        from distributed import Client

        async def go() -> Any:
            async with Client(self.address, asynchronous=True, set_as_default=False) as client:
                return await client.run_on_scheduler(function)

        return asyncio.run(go())

    def end(self) -> None:
        """Kill all."""
        for process in self._processes:
            process.kill()
            process.wait()


@contextmanager
def fleet(directory: Path, scheme: str = "tcp", environ: Mapping[str, str] | None = None) -> Iterator[Fleet]:
    directory.mkdir(exist_ok=True)
    made = Fleet(directory, scheme, environ)
    try:
        yield made
    finally:
        made.end()


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five recordings, one of them cut short, one mono."""
    directory = tmp_path_factory.mktemp("archive")
    for k in range(5):
        sound = tone(2012.5, 0.01 + 0.002 * k, seconds=3.0 + k, channels=1 if k == 3 else 2, noise_rms=1e-3, seed=k)
        write_wav(directory / f"{k}.wav", sound)
    whole = (directory / "1.wav").read_bytes()
    (directory / "1.wav").write_bytes(whole[: len(whole) // 2])
    return directory


@pytest.fixture(scope="module")
def here(archive: Path) -> Done:
    """What this machine makes of the archive."""
    return alone("replay", str(archive))


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A scheduler with two workers, whose gate is open."""
    with fleet(tmp_path_factory.mktemp("fleet")) as made:
        made.gate.touch()
        made.worker(AT_THE_GATE)
        made.worker(AT_THE_GATE)
        yield made


def test_the_numbers_of_one_machine(archive: Path, here: Done, two: Fleet, tmp_path: Path) -> None:
    there = command(tmp_path, "replay", str(archive), "--scheduler", two.address)
    assert (there.returncode, there.stdout, there.stderr) == (2, here.stdout, here.stderr)
    assert here.returncode == 2
    assert "1.wav is cut short" in there.stderr
    files = [json.loads(line)["file"] for line in there.stdout.splitlines() if '"measurement"' in line]
    assert files == [str(archive / f"{k}.wav") for k in (0, 0, 0, 1, 2, 2, 2, 2, 2, 4, 4, 4, 4, 4, 4, 4)]
    assert two.ask(_tasks) == 0


def test_a_calibration_that_only_this_machine_has(archive: Path, here: Done, two: Fleet, tmp_path: Path) -> None:
    new = tmp_path / "only_here.toml"
    new.write_text(CALIBRATION)
    arguments = ["replay", str(archive), "--calibration", str(new)]
    there = command(tmp_path, *arguments, "--scheduler", two.address)
    again = alone(*arguments)
    assert (there.returncode, there.stdout, there.stderr) == (2, again.stdout, again.stderr)
    assert there.stdout != here.stdout
    assert f"is calibrated by {new} (written by hand)" in there.stderr


def test_a_file_that_workers_do_not_see(archive: Path, here: Done, two: Fleet, tmp_path: Path) -> None:
    files = [str(tmp_path / "only_in_a_dream.wav"), str(archive / "0.wav")]
    done = command(tmp_path, "replay", *files, "--scheduler", two.address)
    assert done.returncode == 2
    assert f"cannot read {files[0]}" in done.stderr
    assert "mount the archive there at the same path" in done.stderr
    assert done.stdout
    assert here.stdout.startswith(done.stdout)


def test_a_worker_that_is_killed_in_the_middle(archive: Path, here: Done, two: Fleet, tmp_path: Path) -> None:
    dying = two.worker(DYING)
    done = command(tmp_path, "replay", str(archive), "--scheduler", two.address)
    assert dying.wait(60) == -signal.SIGKILL
    assert (two.directory / "died").read_text().startswith(str(archive))
    assert (done.returncode, done.stdout, done.stderr) == (2, here.stdout, here.stderr)


def test_a_worker_of_another_version_is_refused(archive: Path, two: Fleet, tmp_path: Path) -> None:
    other = tmp_path / "spectrophone-9.9.9.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: spectrophone\nVersion: 9.9.9\n")
    worker = two.worker(PYTHONPATH=f"{tmp_path}:{ROOT}")
    done = command(tmp_path, "replay", str(archive), "--scheduler", two.address)
    worker.kill()
    assert (done.returncode, done.stdout) == (1, "")
    assert f"tcp://{HOST}:" in done.stderr
    assert "has 9.9.9. There: pip install 'spectrophone[fleet]==" in done.stderr
    eventually(lambda: two.ask(_workers) == 2, "end of that worker")


def test_ctrl_c_leaves_the_scheduler_clean(archive: Path, two: Fleet, tmp_path: Path) -> None:
    two.gate.unlink()
    two.reached.unlink(missing_ok=True)
    with gateway(tmp_path, "replay", str(archive), "--scheduler", two.address) as running:
        running.wait(two.reached.exists, "a task at the gate")
        assert two.ask(_tasks) == 5
        assert running.stop(signal.SIGINT) == 130
        assert running.errors == []
    eventually(lambda: two.ask(_tasks) == 0, "empty scheduler")
    two.gate.touch()


def test_no_worker_and_no_scheduler(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["replay", str(archive), "--scheduler"]
    with fleet(tmp_path / "fleet") as made:
        empty = alone(*arguments, made.address)
        worker = made.worker(AT_THE_GATE)
        with gateway(tmp_path, *arguments, made.address) as running:
            running.wait(made.reached.exists, "a task at the gate")
            worker.kill()
            running.wait(lambda: running.errors, "a word about it")
            made.scheduler.kill()
            running.process.wait(60)
            assert running.stop() == 1
        monkeypatch.setattr("gateway.fleet._PATIENCE_S", 0.5)
        gone = alone(*arguments, made.address)
    assert (empty.returncode, empty.stdout) == (gone.returncode, gone.stdout) == (1, "")
    assert f"the scheduler {made.address} has no workers. Start some" in empty.stderr
    lost = f"the scheduler {made.address} was lost with 0 of 5 recordings done"
    assert running.errors == [
        "spectrophone: no worker is left; this goes on when one comes",
        f"spectrophone: {lost}. Start it again, and go on with {archive / '0.wav'}",
    ]
    remedy = "Start one with: dask scheduler, or give the address that it prints"
    assert gone.stderr == f"spectrophone: no Dask scheduler answers at {made.address}. {remedy}\n"


def test_one_file_over_tls_is_as_ever(archive: Path, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    certificate, key = authority.issue(HOST)
    tls = {"DASK_DISTRIBUTED__COMM__TLS__CA_FILE": str(authority.file)}
    for part in ("SCHEDULER", "WORKER", "CLIENT"):
        tls[f"DASK_DISTRIBUTED__COMM__TLS__{part}__CERT"] = str(certificate)
        tls[f"DASK_DISTRIBUTED__COMM__TLS__{part}__KEY"] = str(key)
    file = str(archive / "0.wav")
    with fleet(tmp_path / "fleet", "tls", tls) as made:
        made.worker()
        there = command(tmp_path, "replay", file, "--scheduler", made.address, environ={**os.environ, **tls})
    here = alone("replay", file)
    assert (there.returncode, there.stdout, there.stderr) == (0, here.stdout, here.stderr)
    assert here.stdout
    assert '"file"' not in here.stdout


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("moon", "--scheduler moon is no address. Write tcp://HOST:8786, tls://HOST:8786 or local"),
        (f"tls://{HOST}:8786", "TLS needs certificates, and Dask is told of none"),
    ],
)
def test_an_address_that_cannot_be_used(address: str, message: str, archive: Path) -> None:
    done = alone("replay", str(archive), "--scheduler", address)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


def test_without_the_extra(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    done = alone("replay", str(archive), "--scheduler", "local")
    assert (done.returncode, done.stdout) == (2, "")
    assert "which is not installed. Install it: pip install 'spectrophone[fleet]'" in done.stderr


def test_a_cluster_of_this_machine_alone(archive: Path, here: Done, tmp_path: Path) -> None:
    done = command(tmp_path, "replay", str(archive), "--scheduler", "local")
    assert (done.returncode, done.stdout, done.stderr) == (2, here.stdout, here.stderr)


def alone(*arguments: str) -> Done:
    """`spectrophone ARGUMENTS` in this process."""
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        status = main(arguments)
    return Done(arguments, status, out.getvalue(), err.getvalue())


def _tasks(dask_scheduler: Any) -> int:
    return len(dask_scheduler.tasks)


def _workers(dask_scheduler: Any) -> int:
    return len(dask_scheduler.workers)
