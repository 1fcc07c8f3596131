"""How the command keeps memory: counted in pages that the kernel had to hand out."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PAGES = """\
import gc
import resource
import sys
import threading

if sys.argv[1] == "settled":
    from pipeline.cli.process import settle

    settle()
    assert gc.get_freeze_count() > 1000
    assert gc.get_threshold()[0] == 10_000

def answers():
    for _ in range(50):
        held = [bytearray(1_400_000) for _ in range(4)]

before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(2):
    thread = threading.Thread(target=answers)
    thread.start()
    thread.join()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def pages(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", PAGES, how], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have ways of their own")
def test_memory_of_answers_serves_the_next_ones() -> None:
    """Without it the kernel clears the same pages again and again."""
    assert pages("settled") * 5 < pages("untouched")
