"""Kill runs at random moments, resume them, compare: ``python -m benchmarks.kill --times 50``.

Runs are started in processes of their own, ended with ``kill -9`` at random moments, and resumed,
until one gets through: then the result must have the bits of a run that was left alone, with
nothing else left in its folder. ``--cluster N`` also kills N workers of a `dask.distributed`
cluster of processes, ``--disk MB`` lets a tmpfs of that size (if one may be mounted) run full.
"""

from __future__ import annotations

import argparse
import errno
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import pantile as pt
from pantile.geometry.limits import Limits, using_limits
from pantile.stream.resume.journal import read_journal

__all__ = ["main"]

FORMATS = {"npy": "result.npy", "zarr": "result.zarr", "tif": "result.tif"}
EXECUTORS = (None, "processes")


def filtered(batch: np.ndarray) -> np.ndarray:
    """Something whose bits depend on the order of sums."""
    time.sleep(0.002)
    return np.sin(batch) * np.linspace(1, 2, batch[0].size).reshape(batch.shape[1:])


def run(image: str, out: str, *, resume: bool, executor: object = None) -> None:
    """The run that is killed: journal lines come often, so that there is something to lose."""
    options = {"weights": "hann", "batch_bytes": 60_000, "workers": 2}
    with using_limits(Limits(journal_seconds=0.02, journal_share=0)):
        pt.map_patches(filtered, image, 16, 5, out=out, resume=resume, executor=executor, **options)


def read(path: str) -> np.ndarray:
    from pantile.files import open_image

    image = open_image(path)
    return np.array(image[tuple(slice(0, n) for n in image.shape)])


def started(image: str, out: str, executor: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "benchmarks.kill", "--run", image, out, executor]
    return subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE)


def ended(process: subprocess.Popen[bytes]) -> None:
    """End a process that we started, and the workers it started: they are a group of their own."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert process.stderr is not None
    process.stderr.close()


def until_staged(process: subprocess.Popen[bytes], out: str) -> float:
    """The time at which there is something to lose (or the run is over)."""
    while process.poll() is None and not os.path.exists(out + ".partial"):
        time.sleep(0.005)
    return time.perf_counter()


def strays(folder: Path, kept: set[str]) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.name not in kept)


def killed(
    folder: Path, name: str, executor: str, times: int, expected: np.ndarray
) -> tuple[int, int]:
    """One result through ``times`` kills at random moments; how many there were, and in how many blocks were done."""
    image, out = str(folder / "image.npy"), str(folder / name)
    begin = time.perf_counter()
    process = started(image, out, executor)
    starting = until_staged(process, out) - begin
    process.wait()
    working, kills, midway = time.perf_counter() - begin - starting, 0, 0
    check(process, out, expected, folder)
    while kills < times:
        process = started(image, out, executor)
        if kills % 4:  # one in four may be killed while it still imports
            until_staged(process, out)
        try:
            process.wait(random.uniform(0, working if kills % 4 else starting + working))
        except subprocess.TimeoutExpired:
            ended(process)
            kills += 1
            record = read_journal(out + ".journal")
            midway += record is not None and any(record.done)
        else:
            check(process, out, expected, folder)
    process = started(image, out, executor)
    process.wait()
    check(process, out, expected, folder)
    return kills, midway


def check(process: subprocess.Popen[bytes], out: str, expected: np.ndarray, folder: Path) -> None:
    """The bits, and what else lies there."""
    if process.returncode:
        assert process.stderr is not None
        raise SystemExit(f"a resumed run failed:\n{process.stderr.read().decode()}")
    np.testing.assert_array_equal(read(out), expected)
    left = strays(folder, {"image.npy", *FORMATS.values()})
    if left:
        raise SystemExit(f"left behind: {left}")


def alive(client: Any, n: int) -> list[int]:
    """The processes of all ``n`` workers, once those that were killed have been replaced."""
    while True:
        client.wait_for_workers(n)
        found = client.run(os.getpid, on_error="ignore")  # of one just killed there is no answer
        if len(found) == n and all(isinstance(pid, int) for pid in found.values()):
            return list(found.values())
        time.sleep(0.5)


def in_cluster(folder: Path, times: int, expected: np.ndarray) -> int:
    """Runs on a cluster of processes, of which one is killed at a random moment."""
    import threading

    from dask.distributed import Client, LocalCluster

    kills = 0
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0"}
    with LocalCluster(processes=True, **options) as cluster, Client(cluster) as client:
        for k in range(times):
            workers = alive(client, 2)
            timer = threading.Timer(
                random.uniform(0.1, 2), os.kill, (random.choice(workers), signal.SIGKILL)
            )
            timer.start()
            out = str(folder / list(FORMATS.values())[k % 2])
            run(str(folder / "image.npy"), out, resume=False, executor=client)
            timer.join()
            kills += 1
            np.testing.assert_array_equal(read(out), expected)
            left = strays(folder, {"image.npy", *FORMATS.values()})
            if left:
                raise SystemExit(f"left behind: {left}")
    return kills


def on_a_full_disk(folder: Path, megabytes: int, expected: np.ndarray) -> int:
    """Runs on a disk that is too full; room is made little by little, until one gets through."""
    disk = folder / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        print("no tmpfs can be mounted here: a full disk was not tried")
        return 0
    try:
        return sum(_filled(disk, folder, name, expected) for name in FORMATS.values())
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def _filled(disk: Path, folder: Path, name: str, expected: np.ndarray) -> int:
    ballast, refused = disk / "ballast", 0
    room = expected.nbytes // 8
    while True:
        free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize + (
            ballast.stat().st_size if ballast.exists() else 0
        )
        with open(ballast, "wb") as file:
            file.write(bytes(max(0, free - room)))
        try:
            run(str(folder / "image.npy"), str(disk / name), resume=True)
            break
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            refused += 1
            if not ballast.stat().st_size:
                raise SystemExit(
                    f"{name} does not fit on the disk even when it is empty: give --disk more MB"
                ) from error
            room += expected.nbytes // 8
    np.testing.assert_array_equal(read(str(disk / name)), expected)
    left = strays(disk, {"ballast", *FORMATS.values()})
    if left:
        raise SystemExit(f"left behind: {left}")
    ballast.unlink()
    return refused


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=50, help="kills of whole runs")
    parser.add_argument("--cluster", type=int, default=0, help="kills of cluster workers")
    parser.add_argument("--disk", type=int, default=0, help="size in MB of a tmpfs to fill")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--small", action="store_true", help="threads and .npy only")
    parser.add_argument("--run", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.run:
        image, out, executor = given.run
        run(image, out, resume=True, executor=None if executor == "None" else executor)
        return
    random.seed(given.seed)
    with tempfile.TemporaryDirectory() as name:
        report(Path(name), given)


def report(folder: Path, given: argparse.Namespace) -> None:
    """Do what was asked, and print what was done."""
    side = 300 if given.small else 500
    np.save(folder / "image.npy", np.random.default_rng(0).normal(size=(side, side + 20)))
    run(str(folder / "image.npy"), str(folder / "result.npy"), resume=False)
    expected = read(str(folder / "result.npy"))
    ways = [("result.npy", None)] if given.small else [
        (name, way) for name in FORMATS.values() for way in EXECUTORS
    ]  # fmt: skip
    total, midway = 0, 0
    for k, (name, way) in enumerate(ways):
        times = given.times * (k + 1) // len(ways) - given.times * k // len(ways)
        kills, late = killed(folder, name, str(way), times, expected)
        total, midway = total + kills, midway + late
        print(f"{name}, {way or 'threads'}: {kills} kills", flush=True)
    print(
        f"{total} kills, {midway} of them with blocks on disk; each result equal bit for bit, nothing left behind"
    )
    if given.cluster:
        print(f"{in_cluster(folder, given.cluster, expected)} workers killed, results equal")
    if given.disk:
        print(f"{on_a_full_disk(folder, given.disk, expected)} times a full disk, results equal")


if __name__ == "__main__":
    main()
