"""Time WebShop: steps, start, memory and search; print the figures and write them as JSON.

    python bench/webshop_speed.py [--large N] [--out FILE]

Steps are those of groups of eight episodes a goal that choose at random, as in training: members
of a group repeat each other's searches. Times are CPU seconds unless they are called wall. A cold
start makes, indexes and stores the embedded catalogue; a cached one maps what is stored. Memory is
the workers' proportional set size: what they share counts once.
"""

import argparse
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import psutil

from layerbench.envs.pool import EnvPool
from layerbench.envs.types import StepResult
from layerbench.envs.webshop.catalogue import index as catalogue_index
from layerbench.envs.webshop.catalogue import synthetic
from layerbench.envs.webshop.env import WebShopEnv, list_tasks
from layerbench.envs.webshop.queries import candidate_queries
from layerbench.envs.webshop.shop import Shop, ShopRules

GOALS, MEMBERS = 64, 8
SLOTS, WORKERS = 128, 2
SEARCHES = 400

_START = """
from time import perf_counter, process_time
begun = perf_counter()
from layerbench.envs.webshop.env import WebShopEnv
wall, cpu = perf_counter(), process_time()
WebShopEnv()
print(wall - begun, perf_counter() - wall, process_time() - cpu)
"""


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return how long the work took (CPU s), and its result."""
    start = process_time()
    result = work()
    return process_time() - start, result


def step_rate() -> dict[str, float]:
    """Play groups of episodes that choose at random."""
    env = WebShopEnv()
    searches: list[str] = []

    def play() -> int:
        """Play all episodes by random choices, and return the number of steps."""
        steps = 0
        for task in list_tasks(split="train", count=GOALS, seed=0):
            for member in range(MEMBERS):
                rng = random.Random(f"{task.task_id}|{member}")
                _, info = env.reset(options=dict(task.options))
                over = False
                while not over:
                    action = rng.choice(info["choices"])
                    searches.append(action)
                    _, _, done, truncated, info = env.step(action)
                    steps += 1
                    over = done or truncated
        return steps

    seconds, steps = timed(play)
    searches = [action for action in searches if action.startswith("search")]
    return {
        "steps_per_second": steps / seconds,
        "steps": steps,
        "episodes": GOALS * MEMBERS,
        "searches": len(searches),
        "distinct_searches": len(set(searches)),
    }


def start_times() -> dict[str, float]:
    """Start in processes of their own: once without a cache, then five times with one."""
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "LAYERBENCH_CACHE": cache}
        runs: list[list[float]] = []
        for _ in range(6):
            ran = subprocess.run(
                [sys.executable, "-c", _START],
                env=environment,
                capture_output=True,
                text=True,
                check=True,
            )
            runs.append([float(number) for number in ran.stdout.split()])
    cold, *cached = runs
    return {
        "import_wall": statistics.median(run[0] for run in runs),
        "cold_wall": cold[1],
        "cold": cold[2],
        "cached_wall": statistics.median(run[1] for run in cached),
        "cached": statistics.median(run[2] for run in cached),
    }


def memory() -> dict[str, float]:
    """Play in many environments over worker processes, and measure their memory."""
    tasks = list_tasks(split="train", count=SLOTS, seed=1)
    with EnvPool("webshop", {}, max_turns=15, num_slots=SLOTS, num_workers=WORKERS) as pool:
        live: dict[int, Any] = dict(pool.reset(dict(enumerate(tasks))))
        for _ in range(10):
            actions = {
                slot: random.Random(slot).choice(outcome.observation.choices)
                for slot, outcome in live.items()
            }
            live = {
                slot: result
                for slot, result in pool.step(actions).items()
                if isinstance(result, StepResult) and result.observation.choices
            }
        used = [psutil.Process(pid).memory_full_info() for pid in pool.worker_pids]
    return {
        "environments": SLOTS,
        "workers": WORKERS,
        "pss_mb": sum(info.pss for info in used) / 1e6,
        "uss_mb": sum(info.uss for info in used) / 1e6,
        "rss_mb": sum(info.rss for info in used) / 1e6,
    }


def search_times(shop: Shop) -> dict[str, float]:
    """Search for the instructions of goals, each once."""
    table = shop.table("synthetic", 0, 233)
    queries: dict[tuple[str, ...], None] = {}
    for index in range(len(table)):
        goal = table.goal(index, shop.product(int(table.products_G[index])))
        queries |= {tuple(query.split(" ")): None for query in candidate_queries(goal.instruction)}
        if len(queries) >= SEARCHES:
            break
    # The first searches, which read pages of the index from disk, are not measured.
    for words in queries:
        shop.find(words)
    shop.find.cache_clear()
    times = [1000 * timed(lambda words=words: shop.find(words))[0] for words in queries]
    return {
        "products": len(shop),
        "searches": len(times),
        "mean_ms": statistics.fmean(times),
        "median_ms": statistics.median(times),
        "slowest_ms": max(times),
    }


def large_shop(count: int, folder: Path) -> tuple[Shop, dict[str, float]]:
    """Write a large generated catalogue and index its files, as of a published one."""
    files = folder / "files"
    files.mkdir()
    synthetic.write(files, num_products=count, seed=0)
    os.environ["LAYERBENCH_CACHE"] = str(folder / "cache")
    seconds, index_dir = timed(lambda: catalogue_index.ensure_published(files))
    opening, shop = timed(lambda: Shop(index_dir, ShopRules()))
    drawing, table = timed(lambda: shop.table("synthetic", 0, 233))
    size = sum(path.stat().st_size for path in index_dir.rglob("*") if path.is_file())
    return shop, {
        "products": count,
        "files_mb": sum(path.stat().st_size for path in files.iterdir()) / 1e6,
        "stock": seconds,
        "open": opening,
        "draw_goals": drawing,
        "goals": len(table),
        "stored_mb": size / 1e6,
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3,
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--large", type=int, default=100_000, help="products of a large catalogue")
    default = Path(__file__).parent / "results" / "webshop_speed.json"
    parser.add_argument("--out", type=Path, default=default)
    settings = parser.parse_args()
    begun = perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LAYERBENCH_CACHE"] = str(Path(folder) / "small")
        figures: dict[str, Any] = {"start_s": start_times(), "steps": step_rate()}
        figures["memory"] = memory()
        figures["search_small"] = search_times(Shop(synthetic.ensure_index(), ShopRules()))
        shop, figures["large_s"] = large_shop(settings.large, Path(folder))
        figures["search_large"] = search_times(shop)
    figures["wall_s"] = perf_counter() - begun
    figures["load"] = os.getloadavg()[0]
    for name, values in figures.items():
        sys.stdout.write(f"{name:14}{json.dumps(values)}\n")
    settings.out.parent.mkdir(parents=True, exist_ok=True)
    settings.out.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
