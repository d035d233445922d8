"""The rows of the benches in Python's multiprocessing.

`python3 rivals.py FUNCTION` reads numbers from its input, does so many operations for each, and answers with the seconds
that they took. Processes are forked: how they were started does not matter once they run.
"""

import multiprocessing
import sys
from array import array
from multiprocessing.shared_memory import SharedMemory
from time import perf_counter

try:
    import numpy
except ImportError:
    numpy = None

mp = multiprocessing.get_context("fork")
NUMBERS = 100_000_000 // 8


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


if __name__ == "__main__":
    function = globals()[sys.argv[1]]
    for line in sys.stdin:
        print(function(int(line)), flush=True)
