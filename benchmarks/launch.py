"""Run a command and print what it took, as JSON: `python launch.py STDOUT COMMAND …`.

A process of its own, because Linux counts the peak of the memory of whoever starts a command as the command's.
"""

import json
import os
import subprocess
import sys
import time

began = time.perf_counter()
with open(sys.argv[1], "wb") as output:
    process = subprocess.Popen(sys.argv[2:], stdout=output)
    _, status, used = os.wait4(process.pid, 0)
taken = {
    "code": os.waitstatus_to_exitcode(status),
    "wall": time.perf_counter() - began,
    "cpu": used.ru_utime + used.ru_stime,
    "memory": used.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
}
print(json.dumps(taken))
