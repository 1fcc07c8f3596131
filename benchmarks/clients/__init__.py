"""What a user would write instead of Retouch: each a process, `python -m benchmarks.clients.NAME WORK`."""
