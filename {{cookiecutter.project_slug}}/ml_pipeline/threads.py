"""Work on columns side by side: numpy and arrow let other threads go on while they sort, add and copy."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

MOST = 4  # each thread holds a column or two; with more the memory would grow faster than the speed
Item = TypeVar("Item")
Result = TypeVar("Result")


def mapped(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """The function of each item, in order. Raises what the first one that fails has raised."""
    with ThreadPoolExecutor(min(MOST, os.cpu_count() or 1)) as pool:
        return list(pool.map(function, items))
