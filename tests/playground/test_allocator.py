"""The C library's memory: two arenas for all threads, and what is free goes back to the system."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
THREADS = 10
PROGRAM = f"""
import ctypes, sys, threading
from playground.allocator import use_few_arenas

if sys.argv[1] == "few":
    use_few_arenas()
begin = threading.Barrier({THREADS} + 1)
end = threading.Event()

def work():
    begin.wait()
    kept = [bytearray(2000) for _ in range(100)]
    begin.wait()
    end.wait()
    del kept

threads = [threading.Thread(target=work) for _ in range({THREADS})]
for thread in threads:
    thread.start()
begin.wait()
begin.wait()
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
file = libc.fopen(sys.argv[2].encode(), b"w")
libc.malloc_info(0, ctypes.c_void_p(file))
libc.fclose(ctypes.c_void_p(file))
end.set()
"""


def test_all_threads_share_two_arenas(tmp_path: Path) -> None:
    found = {}
    for way in ("few", "as it is"):
        file = tmp_path / way
        subprocess.run([sys.executable, "-c", PROGRAM, way, str(file)], cwd=ROOT, check=True, timeout=60)
        found[way] = file.read_text().count("<heap nr=")
    assert found["few"] <= 2 < found["as it is"]


HOLES = """
import psutil
from playground.allocator import give_back

kept = [(bytearray(8000), bytearray(200)) for _ in range(10_000)]
kept = [small for _, small in kept]  # each holds up what is below it
process = psutil.Process()
before = process.memory_info().rss
give_back()
print(before - process.memory_info().rss)
"""


def test_what_is_free_between_what_is_used_goes_back() -> None:
    done = subprocess.run(
        [sys.executable, "-c", HOLES], cwd=ROOT, check=True, timeout=60, capture_output=True, text=True
    )
    assert int(done.stdout) > 20_000_000
