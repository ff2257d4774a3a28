"""The loop that sends requests at their times and reads the answers; one thread, one process.

Sockets and epoll, without an event loop in between: a request costs its two system calls and a few
microseconds, and `select` wakes within a tenth of a millisecond of a time, where epoll and the timers of
libuv round to a whole one.

A request's latency runs from the time at which it was meant to go, whether or not a connection was
free then.  What has no answer after the timeout has failed.
"""

from __future__ import annotations

import errno
import select
import socket
import time
from array import array
from collections import deque
from collections.abc import Callable
from typing import Final

from augury.bench.dialects.base import WRONG, Verdict
from augury.bench.load.connection import Connection
from augury.bench.load.judging import Judge, failure
from augury.bench.load.plan import Plan, Progress
from augury.bench.load.wire import Answer, AnswerReader, BrokenAnswerError, whole_answer
from augury.bench.measure.tally import FIELDS, Tally

TICK_S: Final = 0.05
PROGRESS_S: Final = 0.5
# Between two looks at what has come in.
_SENDS_AT_ONCE: Final = 64
# Folding so many takes a few tenths of a millisecond.
_FOLD_NUMBERS: Final = 2048 * FIELDS
_READ_BYTES: Final = 16 * 1024
_MAX_ANSWER_BYTES: Final = 256 * 1024 * 1024

_IN: Final = select.EPOLLIN
_OUT: Final = select.EPOLLOUT

_TIMEOUT: Final = failure("timeout")
_NO_CONNECTION: Final = failure("timeout, connecting")
_UNSENT: Final = failure("timeout, no connection free")
_RESET: Final = failure("connection reset")
_CLOSED: Final = failure("closed before the answer")
_BROKEN: Final = Verdict(WRONG, "not HTTP")
_TOO_LONG: Final = Verdict(WRONG, "answer without end")
# What had not been answered when the run was ended early; nobody knows what would have become of it.
INTERRUPTED: Final = failure("interrupted")


class Generator:
    """One run of one process.

    Args:
        plan: What to send, and when.
        judge: What answers count as.
        stop_fd: When it can be read, the run ends early.
        tell: Is told how far it is, twice a second.
    """

    def __init__(
        self,
        plan: Plan,
        judge: Judge,
        *,
        stop_fd: int | None = None,
        tell: Callable[[Progress], None] | None = None,
    ) -> None:
        self._plan = plan
        self._judge = judge
        self._tell = tell
        self._closed = plan.loop == "closed"
        self._requests = plan.requests
        self._which = array("I", plan.which)
        self._at = array("d", b"" if self._closed else plan.at)
        self._next = 0
        self._end_s = plan.warm_up_s + plan.duration_s
        self._poll = select.epoll()
        self._stop_fd = -1 if stop_fd is None else stop_fd
        if stop_fd is not None:
            self._poll.register(stop_fd, _IN)
        self._connections: dict[int, Connection] = {}
        self._free: list[Connection] = []
        self._backlog: deque[tuple[int, float]] = deque()
        self._start_s = 0.0
        # Time, CPU time and time spent waiting, at the first and the last tick of the window.
        self._marks: list[tuple[float, float, float]] = []
        self._records = array("d")
        self._numbers: dict[Verdict, int] = {}
        self._stopped = False
        self._waited_s = 0.0
        self.tally = Tally(plan.warm_up_s, plan.duration_s, plan.slo_s, plan.interval_s)

    def run(self, start_s: float) -> Tally:
        """Send and measure; returns when all is answered or has failed.

        Args:
            start_s: Monotonic time from which the plan's times count.
        """
        self._start_s = start_s
        try:
            while (wait_s := start_s - time.monotonic()) > 0 and not self._stopped:
                if select.select([self._poll.fileno()], (), (), wait_s)[0]:
                    self._stopped = True
            self._loop()
            if self._stopped:
                self._give_up(time.monotonic() - start_s)
        finally:
            for connection in self._connections.values():
                connection.sock.close()
            self._poll.close()
        now_s = time.monotonic() - start_s
        if self._stopped and now_s < self._end_s:
            self.tally.cut(now_s - self._plan.warm_up_s)
        self.tally.fold(self._records)
        if len(self._marks) > 1:
            (since_s, cpu_before_s, idle_before_s), (until_s, cpu_after_s, idle_after_s) = (
                self._marks
            )
            passed_s = max(until_s - since_s, 1e-9)
            self.tally.cpu_share = (cpu_after_s - cpu_before_s) / passed_s
            self.tally.busy_share = 1 - (idle_after_s - idle_before_s) / passed_s
        return self.tally

    def _give_up(self, now_s: float) -> None:
        """Count all that was due and has no answer: what is left out would make the rest look good."""
        for connection in self._connections.values():
            if connection.busy:
                self._record(
                    connection.at_s, connection.taken_s, connection.sent_s, now_s, INTERRUPTED
                )
        for number, taken_s in self._backlog:
            self._record(self._at[number], taken_s, now_s, now_s, INTERRUPTED)
        while self._next < len(self._at) and self._at[self._next] <= now_s:
            self._record(self._at[self._next], now_s, now_s, now_s, INTERRUPTED)
            self._next += 1
            if len(self._records) >= _FOLD_NUMBERS:
                self.tally.fold(self._records)

    def _loop(self) -> None:
        poll, poll_fd = self._poll.poll, self._poll.fileno()
        monotonic, start_s = time.monotonic, self._start_s
        next_tick_s = next_told_s = 0.0
        connections = self._connections
        while not self._stopped:
            now_s = monotonic() - start_s
            due_s = next_tick_s
            if not self._closed:
                due_s = min(due_s, self._send_due(now_s))
            if now_s >= next_tick_s:
                self._tick(now_s, now_s - next_tick_s)
                next_tick_s = due_s = now_s + TICK_S
                if not self._closed and self._next < len(self._at):
                    due_s = min(due_s, self._at[self._next])
                if self._tell is not None and now_s >= next_told_s:
                    next_told_s = now_s + PROGRESS_S
                    self._report(now_s)
                if self._is_over(now_s):
                    return
            events = poll(0, 256)
            if not events:
                from_s = monotonic()
                wait_s = due_s - (from_s - start_s)
                if wait_s > 0:
                    select.select([poll_fd], (), (), wait_s)
                    # No longer than meant: what comes on top, this process was kept from its core.
                    self._waited_s += min(monotonic() - from_s, wait_s)
                    events = poll(0, 256)
            for fd, mask in events:
                connection = connections.get(fd)
                if connection is None:
                    self._stopped |= fd == self._stop_fd
                elif connection.connecting or mask & _OUT:
                    self._on_writable(connection)
                else:
                    self._on_readable(connection)
            if len(self._records) >= _FOLD_NUMBERS:
                self.tally.fold(self._records)

    def _is_over(self, now_s: float) -> bool:
        if now_s < self._end_s or self._next < len(self._at) or self._backlog:
            return False
        return not any(one.busy for one in self._connections.values())

    def _send_due(self, now_s: float) -> float:
        """Send what is due, a bounded number; returns the time of the next."""
        at, number = self._at, self._next
        last = min(len(at), number + _SENDS_AT_ONCE)
        while number < last and at[number] <= now_s:
            if self._free:
                self._begin(self._free.pop(), number, now_s)
            elif len(self._connections) < self._plan.connections:
                self._open(number, now_s)
            else:
                self._backlog.append((number, now_s))
                self.tally.waited += 1
            number += 1
            now_s = time.monotonic() - self._start_s
        self._next = number
        return at[number] if number < len(at) else float("inf")

    def _tick(self, now_s: float, behind_s: float) -> None:
        late_s = now_s - self._plan.timeout_s
        # Those that wait first, so that none of them is sent too late on a connection that is free now.
        while self._backlog and self._at[self._backlog[0][0]] < late_s:
            number, taken_s = self._backlog.popleft()
            self._record(self._at[number], taken_s, taken_s, now_s, _UNSENT)
        for connection in [one for one in self._connections.values() if one.busy]:
            if connection.at_s < late_s:
                self._fail(connection, _NO_CONNECTION if connection.connecting else _TIMEOUT, now_s)
        if self._closed and now_s < self._end_s:
            for _ in range(self._plan.connections - len(self._connections)):
                self._open(-1, now_s)
        if self._plan.warm_up_s <= now_s <= self._end_s + TICK_S:
            mark = (now_s, time.process_time(), self._waited_s)
            # The first and the last mark are kept.
            if self._marks:
                self.tally.behind_s.append(behind_s)
            self._marks[min(len(self._marks), 1) :] = [mark]

    def _report(self, now_s: float) -> None:
        self.tally.fold(self._records)
        tally = self.tally
        ok = tally.ok.count
        offered, refused = tally.count, tally.refused.count
        assert self._tell is not None  # noqa: S101 - the caller looked
        self._tell(
            Progress(
                now_s, offered, ok, tally.good, refused, offered - ok - refused,
                tally.ok.percentile_us(50), tally.ok.percentile_us(99),
            )
        )  # fmt: skip

    def _open(self, number: int, now_s: float, taken_s: float | None = None) -> None:
        """Connect, and send request *number* (of the closed loop: the next, -1) over it.

        *taken_s* is when it was taken up, if that was earlier and it had to wait for a connection.
        """
        try:
            sock = socket.socket(self._plan.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError as error:
            at_s = now_s if number < 0 else self._at[number]
            taken_s = now_s if taken_s is None else taken_s
            self._record(at_s, taken_s, now_s, now_s, _connect_failure(error.errno))
            return
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = Connection(sock)
        self._aim(connection, number, now_s)
        if taken_s is not None:
            connection.taken_s = taken_s
        self._connections[connection.fd] = connection
        status = sock.connect_ex(self._plan.address)
        if status not in (0, errno.EINPROGRESS):
            self._fail(connection, _connect_failure(status), now_s)
            return
        self._poll.register(connection.fd, _OUT)

    def _aim(self, connection: Connection, number: int, now_s: float) -> None:
        """Put request *number* on *connection*."""
        if number < 0:
            number = self._next
            self._next += 1
            connection.at_s = now_s
        else:
            connection.at_s = self._at[number]
        connection.which = self._which[number % len(self._which)]
        connection.taken_s = connection.sent_s = now_s
        connection.busy = True

    def _begin(self, connection: Connection, number: int, now_s: float) -> None:
        self._aim(connection, number, now_s)
        self._send(connection, self._requests[connection.which])

    def _send(self, connection: Connection, data: bytes | memoryview) -> None:
        try:
            sent = connection.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._fail(connection, _RESET, time.monotonic() - self._start_s)
            return
        if sent < len(data):
            if connection.out is None:
                self._poll.modify(connection.fd, _IN | _OUT)
            connection.out = memoryview(data)[sent:]
        elif connection.out is not None:
            connection.out = None
            self._poll.modify(connection.fd, _IN)

    def _on_writable(self, connection: Connection) -> None:
        if connection.connecting:
            status = connection.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            now_s = time.monotonic() - self._start_s
            if status:
                self._fail(connection, _connect_failure(status), now_s)
                return
            connection.connecting = False
            self._poll.modify(connection.fd, _IN)
            connection.sent_s = now_s
            self._send(connection, self._requests[connection.which])
        elif connection.out is not None:
            self._send(connection, connection.out)

    def _on_readable(self, connection: Connection) -> None:
        try:
            data = connection.sock.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
            if connection.busy:
                self._fail(connection, _RESET, time.monotonic() - self._start_s)
                return
        if not connection.busy:
            self._drop(connection)  # the server has closed what was idle
            return
        answer: Answer | None = None
        reader = connection.reader
        try:
            if reader is None:
                answer = whole_answer(data)
                if answer is None:
                    reader = connection.reader = AnswerReader()
            if reader is not None:
                answer = reader.feed(data) if data else reader.close()
        except BrokenAnswerError:
            self._fail(connection, _BROKEN, time.monotonic() - self._start_s)
            return
        if answer is not None:
            self._finish(connection, answer)
        elif not data:
            self._fail(connection, _CLOSED, time.monotonic() - self._start_s)
        elif reader is not None and reader.size > _MAX_ANSWER_BYTES:
            self._fail(connection, _TOO_LONG, time.monotonic() - self._start_s)

    def _finish(self, connection: Connection, answer: Answer) -> None:
        now_s = time.monotonic() - self._start_s
        verdict = self._judge(answer.status, answer.body, connection.which)
        self._record(connection.at_s, connection.taken_s, connection.sent_s, now_s, verdict)
        connection.busy = False
        connection.answers += 1
        connection.reader = None
        if not answer.keep or connection.out is not None:
            self._replace(connection, now_s)
        elif self._closed:
            if now_s < self._end_s:
                self._begin(connection, -1, time.monotonic() - self._start_s)
        elif self._backlog:
            self._take_waiting(connection)
        else:
            self._free.append(connection)

    def _take_waiting(self, connection: Connection) -> None:
        number, taken_s = self._backlog.popleft()
        self._aim(connection, number, time.monotonic() - self._start_s)
        connection.taken_s = taken_s
        self._send(connection, self._requests[connection.which])

    def _fail(self, connection: Connection, verdict: Verdict, now_s: float) -> None:
        self._record(connection.at_s, connection.taken_s, connection.sent_s, now_s, verdict)
        connection.busy = False
        self._replace(connection, now_s)

    def _replace(self, connection: Connection, now_s: float) -> None:
        """Close *connection*; what waits for one gets another."""
        had_answers = connection.answers > 0
        self._drop(connection)
        if self._backlog:
            number, taken_s = self._backlog.popleft()
            self._open(number, now_s, taken_s)
        elif self._closed and had_answers and now_s < self._end_s:
            # One that never got an answer is tried again at the next tick: a server that is down
            # should not keep this process busy.
            self._open(-1, now_s)

    def _drop(self, connection: Connection) -> None:
        del self._connections[connection.fd]
        if not connection.busy and connection in self._free:
            self._free.remove(connection)
        connection.sock.close()

    def _record(
        self, at_s: float, taken_s: float, sent_s: float, done_s: float, verdict: Verdict
    ) -> None:
        number = self._numbers.get(verdict)
        if number is None:
            number = self.tally.number_of(verdict)
            if len(self._numbers) < 1024:
                self._numbers[verdict] = number
        self._records.extend((at_s, taken_s, sent_s, done_s, number))


def _connect_failure(number: int | None) -> Verdict:
    name = errno.errorcode.get(number or 0, str(number))
    known = {"ECONNREFUSED": "connection refused", "ETIMEDOUT": "connect timed out"}
    return failure(known.get(name, f"connect {name}"))
