"""A run in several processes: shares of one job at once, started, watched and summed up by the process that was asked.

1. Each process is a shard to the ledger and the lock, with its part of every limit; together they keep within these.
2. Items whose image may be the same bytes are one process's, so that equal requests are one, as in a single process.
3. None sends anything before all could: whatever keeps one from beginning keeps all.
4. What one process finishes is durable whatever becomes of the others. Those whose parent is gone end as if asked to.
"""
