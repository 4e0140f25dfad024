"""
``badges-async worker``: a fleet's worker, and what its operator does with the stream.

```text
commands    the commands and their options as they are typed
options     which Redis, stream and group; quotas; ids and ages
running     worker run: from the first event to the last one handed back
accounts    the clients of a worker: one for each quota of an account
showing     what run shows while it goes, and the summary
gauging     looking at the stream now and then; metrics for Prometheus, served
notices     what the library warns of, as lines
enqueueing  worker enqueue: a file of claims onto the stream
standing    worker status
letters     worker dlq list, show, requeue, purge
```

Only the functions that speak to Redis import what needs the extra ``worker``: help and wrong usage
are told without it.
"""
