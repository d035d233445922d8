"""The rows of the benches in Python's multiprocessing, and in the pools that others made for Python.

`python3 rivals.py FUNCTION [MEGABYTES]` reads numbers from its input, does so many operations for each, and answers with
the seconds that they took. MEGABYTES is how much memory the interpreter touches before. Processes are forked, but for those
whose start is measured: how they were started does not matter once they run.
"""

import multiprocessing
import os
import signal
import sys
from array import array
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from multiprocessing.shared_memory import SharedMemory
from time import perf_counter, sleep

try:
    import numpy
except ImportError:
    numpy = None

mp = multiprocessing.get_context("fork")
NUMBERS = 100_000_000 // 8
WORKERS = 2
MEGABYTE = 1 << 20


def repeat(count, work):
    begin = perf_counter()
    for _ in range(count):
        work()
    return perf_counter() - begin


def with_child(target, args, work):
    """Runs `work` beside a process that runs `target`."""
    process = mp.Process(target=target, args=args)
    process.start()
    elapsed = work()
    process.join()
    return elapsed


def lock(count):
    lock = mp.Lock()

    def once():
        lock.acquire()
        lock.release()

    return repeat(count, once)


def increment(value, count):
    for _ in range(count):
        with value.get_lock():
            value.value += 1


def value(count):
    value = mp.Value("q", 0)
    begin = perf_counter()
    increment(value, count)
    return perf_counter() - begin


def contended(count):
    value = mp.Value("q", 0)
    ready, done = mp.Event(), mp.Event()

    def other():
        ready.set()
        increment(value, count)
        done.set()

    process = mp.Process(target=other)
    process.start()
    ready.wait()
    begin = perf_counter()
    increment(value, count)
    done.wait()
    elapsed = perf_counter() - begin
    process.join()
    assert value.value == 2 * count
    return elapsed / 2


def produce(queue, count, item):
    for _ in range(count):
        queue.put(item)


def queue(count, item=7, capacity=0):
    queue = mp.Queue(capacity)

    def consume():
        queue.get()
        return repeat(count, queue.get)

    return with_child(produce, (queue, count + 1, item), consume)


def queue_1k(count):
    return queue(count, bytes(1 << 10), 1024)


def queue_64k(count):
    return queue(count, bytes(64 << 10), 64)


def queue_1m(count):
    return queue(count, bytes(1 << 20), 8)


def echo(requests, replies, count):
    for _ in range(count):
        replies.put(requests.get())


def ping_pong_queue(count):
    requests, replies = mp.Queue(), mp.Queue()

    def once():
        requests.put(7)
        replies.get()

    return with_child(echo, (requests, replies, count), lambda: repeat(count, once))


def echo_pipe(connection, count):
    for _ in range(count):
        connection.send(connection.recv())


def ping_pong_pipe(count):
    ours, theirs = mp.Pipe()

    def once():
        ours.send(7)
        ours.recv()

    return with_child(echo_pipe, (theirs, count), lambda: repeat(count, once))


def echo_event(there, back, count):
    for _ in range(count):
        there.wait()
        there.clear()
        back.set()


def ping_pong_event(count):
    there, back = mp.Event(), mp.Event()

    def once():
        there.set()
        back.wait()
        back.clear()

    return with_child(echo_event, (there, back, count), lambda: repeat(count, once))


def come_and_go(barrier, count):
    for _ in range(count):
        barrier.wait()


def barrier(count):
    barrier = mp.Barrier(2)

    def work():
        barrier.wait()
        return repeat(count, barrier.wait)

    return with_child(come_and_go, (barrier, count + 1), work)


def make_lock(count):
    return repeat(count, mp.Lock)


def make_value(count):
    return repeat(count, lambda: mp.Value("q", 7))


def make_queue(count):
    return repeat(count, mp.Queue)


def make_shared_memory(count):
    def once():
        memory = SharedMemory(create=True, size=4096)
        memory.close()
        memory.unlink()

    return repeat(count, once)


def total(numbers):
    """The sum; without numpy one number of each page, since a loop in Python would measure Python."""
    return float(numpy.frombuffer(numbers).sum()) if numpy else sum(memoryview(numbers)[::512])


def sum_messages(connection, count):
    for _ in range(count):
        connection.send(total(connection.recv()))


def hand_over_pickled(count):
    ours, theirs = mp.Pipe()
    numbers = array("d", [1.0]) * NUMBERS

    def once():
        ours.send(numbers)
        ours.recv()

    def work():
        once()
        return repeat(count, once)

    return with_child(sum_messages, (theirs, count + 1), work)


def sum_attached(connection, count):
    for _ in range(count):
        memory = SharedMemory(connection.recv())
        numbers = memory.buf.cast("d")
        connection.send(total(numbers))
        numbers.release()
        memory.close()


def hand_over_by_name(count):
    ours, theirs = mp.Pipe()
    memory = SharedMemory(create=True, size=NUMBERS * 8)
    memory.buf[:] = bytes(NUMBERS * 8)

    def once():
        ours.send(memory.name)
        ours.recv()

    def work():
        once()
        return repeat(count, once)

    try:
        return with_child(sum_attached, (theirs, count + 1), work)
    finally:
        memory.close()
        memory.unlink()


# Pools. They and what they need is made before the clock runs, and lives as long as the interpreter.


def square(n):
    return n * n


@cache
def pool():
    return mp.Pool(WORKERS)


@cache
def executor():
    return ProcessPoolExecutor(WORKERS, mp_context=mp)


@cache
def mpire():
    import mpire

    return mpire.WorkerPool(n_jobs=WORKERS, start_method="fork", keep_alive=True)


@cache
def pebble():
    import pebble

    return pebble.ProcessPool(max_workers=WORKERS, context=mp)


@cache
def loky():
    import loky

    return loky.ProcessPoolExecutor(WORKERS)


def in_batches(count, size, work):
    """The time for `count` tasks, of which whole batches are given to `work`, which returns what came back."""
    work(1)
    batches = -(-count // size)
    elapsed = 0
    for _ in range(batches):
        begin = perf_counter()
        results = work(size)
        elapsed += perf_counter() - begin
        assert sum(results) == sum(map(square, range(size)))
    return elapsed * count / (batches * size)


def map_pool(count):
    return in_batches(count, 100_000, lambda some: pool().map(square, range(some)))


def map_mpire(count):
    return in_batches(count, 100_000, lambda some: mpire().map(square, range(some)))


def imap_pool(count):
    return in_batches(count, 1000, lambda some: list(pool().imap_unordered(square, range(some))))


def imap_mpire(count):
    return in_batches(count, 100_000, lambda some: list(mpire().imap_unordered(square, range(some))))


def futures(count, submit, get):
    def work(some):
        tasks = [submit(n) for n in range(some)]
        return [get(task) for task in tasks]

    return in_batches(count, 1000, work)


def submit_executor(count):
    return futures(count, lambda n: executor().submit(square, n), lambda task: task.result())


def submit_mpire(count):
    return futures(count, lambda n: mpire().apply_async(square, (n,)), lambda task: task.get())


def submit_pebble(count):
    return futures(count, lambda n: pebble().schedule(square, (n,)), lambda task: task.result())


def submit_loky(count):
    return futures(count, lambda n: loky().submit(square, n), lambda task: task.result())


def apply_pool(count):
    pool().apply(square, (7,))
    return repeat(count, lambda: pool().apply(square, (7,)))


def apply_pool_asleep(count):
    pool().apply(square, (7,))
    elapsed = 0
    for _ in range(count):
        sleep(0.003)
        elapsed += repeat(1, lambda: pool().apply(square, (7,)))
    return elapsed


def apply_pebble(count):
    pebble().schedule(square, (7,)).result()
    return repeat(count, lambda: pebble().schedule(square, (7,)).result())


def apply_loky(count):
    loky().submit(square, 7).result()
    return repeat(count, lambda: loky().submit(square, 7).result())


def give_back(message):
    return message


def make(_):
    return bytes(MEGABYTE)


def apply_bytes(count):
    message = bytes(MEGABYTE)
    pool().apply(give_back, (message,))
    return repeat(count, lambda: pool().apply(give_back, (message,)))


def drain(results, total):
    """As they come, since all of them at once are more memory than there may be."""
    begin = perf_counter()
    for result in results:
        total -= result if isinstance(result, int) else len(result)
    elapsed = perf_counter() - begin
    assert total == 0
    return elapsed


def imap_arguments(count):
    message = bytes(MEGABYTE)
    pool().map(len, [b""])
    begin = perf_counter()
    results = pool().imap_unordered(len, (message for _ in range(count)))
    begun = perf_counter() - begin
    return begun + drain(results, count * MEGABYTE)


def imap_results(count):
    pool().map(len, [b""])
    return drain(pool().imap_unordered(make, range(count)), count * MEGABYTE)


def first(count, make_pool, call, end):
    """From no pool to its first result, without its end."""
    elapsed = 0
    for _ in range(count):
        begin = perf_counter()
        new = make_pool()
        assert call(new) == 7
        elapsed += perf_counter() - begin
        end(new)
    return elapsed


def end_pool(pool):
    pool.terminate()
    pool.join()


def start_pool(count):
    return first(count, lambda: mp.Pool(WORKERS), lambda pool: pool.apply(abs, (-7,)), end_pool)


def start_pool_spawn(count):
    spawn = multiprocessing.get_context("spawn")
    return first(count, lambda: spawn.Pool(WORKERS), lambda pool: pool.apply(abs, (-7,)), end_pool)


def start_executor(count):
    return first(
        count,
        lambda: ProcessPoolExecutor(WORKERS, mp_context=mp),
        lambda pool: pool.submit(abs, -7).result(),
        lambda pool: pool.shutdown(),
    )


def start_mpire(count):
    from mpire import WorkerPool

    return first(
        count,
        lambda: WorkerPool(n_jobs=WORKERS, start_method="fork"),
        lambda pool: pool.apply(abs, (-7,)),
        lambda pool: pool.terminate(),
    )


def start_pebble(count):
    from pebble import ProcessPool

    def end(pool):
        pool.stop()
        pool.join()

    return first(
        count,
        lambda: ProcessPool(max_workers=WORKERS, context=mp),
        lambda pool: pool.schedule(abs, (-7,)).result(),
        end,
    )


def start_loky(count):
    from loky import ProcessPoolExecutor as Loky

    return first(
        count,
        lambda: Loky(WORKERS),
        lambda pool: pool.submit(abs, -7).result(),
        lambda pool: pool.shutdown(),
    )


def busy(micros):
    end = perf_counter() + micros / 1e6
    while perf_counter() < end:
        pass


LONG_FIRST = [100_000] + 1000 * [100]
RAMP_UP = range(10, 2010, 10)


def map_busy(count, tasks):
    pool().map(busy, [0])
    return repeat(count, lambda: pool().map(busy, tasks))


def imap_busy(count, tasks):
    pool().map(busy, [0])
    return repeat(count, lambda: list(pool().imap_unordered(busy, tasks)))


def map_long_first(count):
    return map_busy(count, LONG_FIRST)


def imap_long_first(count):
    return imap_busy(count, LONG_FIRST)


def map_long_last(count):
    return map_busy(count, LONG_FIRST[::-1])


def imap_long_last(count):
    return imap_busy(count, LONG_FIRST[::-1])


def map_ramp_down(count):
    return map_busy(count, RAMP_UP[::-1])


def imap_ramp_down(count):
    return imap_busy(count, RAMP_UP[::-1])


def map_ramp_up(count):
    return map_busy(count, RAMP_UP)


def imap_ramp_up(count):
    return imap_busy(count, RAMP_UP)


# Starts of processes. Their functions are those of Python's own modules: this script has no file that a process which is
# executed anew could import.


def processes(method, count, target=abs, args=(-7,), at_once=1):
    context = multiprocessing.get_context(method)
    batches = -(-count // at_once)

    def once():
        started = [context.Process(target=target, args=args) for _ in range(at_once)]
        for process in started:
            process.start()
        for process in started:
            process.join()
            assert process.exitcode == 0

    return repeat(batches, once) * count / (batches * at_once)


def process_spawn(count):
    return processes("spawn", count)


def process_fork(count):
    return processes("fork", count)


def process_forkserver(count):
    return processes("forkserver", count)


def megabyte_spawn(count):
    return processes("spawn", count, len, (bytes(MEGABYTE),))


def megabyte_fork(count):
    return processes("fork", count, len, (bytes(MEGABYTE),))


def megabyte_forkserver(count):
    return processes("forkserver", count, len, (bytes(MEGABYTE),))


def at_once_spawn(count):
    return processes("spawn", count, at_once=100)


def at_once_fork(count):
    return processes("fork", count, at_once=100)


def at_once_forkserver(count):
    return processes("forkserver", count, at_once=100)


def idle(method):
    """The private memory of a process that has come to its function, where it stops."""
    context = multiprocessing.get_context(method)
    process = context.Process(target=signal.raise_signal, args=(signal.SIGSTOP,))
    process.start()
    while True:
        with open(f"/proc/{process.pid}/stat") as stat:
            state = stat.read().rpartition(") ")[2][0]
        if state == "T":
            break
        assert state not in "ZX"
        os.sched_yield()
    with open(f"/proc/{process.pid}/smaps_rollup") as rollup:
        kilobytes = [int(line.split()[1]) for line in rollup if line.startswith(("Private_Clean", "Private_Dirty"))]
    process.kill()
    process.join()
    return sum(kilobytes) * 1024


def idle_spawn(_):
    return idle("spawn")


def idle_fork(_):
    return idle("fork")


def idle_forkserver(_):
    return idle("forkserver")


if __name__ == "__main__":
    ballast = bytearray(b"\1") * ((int(sys.argv[2]) if len(sys.argv) > 2 else 0) * MEGABYTE)
    function = globals()[sys.argv[1]]
    for line in sys.stdin:
        print(function(int(line)), flush=True)
