"""Clients that hold connections and do no good with them: idle ones, ones that send a byte a second, followers that never read."""
import contextlib, selectors, socket, threading, time


def address(text):
    host, _, port = text.rpartition(":")
    return host, int(port)


class Crowd:
    """Held from a thread of its own, whatever the head does: a connection that it closes is made anew, and counted in `closed`. Every other one
    dials the cluster listener. `api` and `agents` are (host, port), `headers` those of the followers' requests."""

    def __init__(self, api, agents, idle, dribbling=0, followers=0, job=None, headers=b""):
        self.api, self.agents, self.headers = api, agents, headers
        self.selector, self.stopping, self.closed = selectors.DefaultSelector(), False, 0
        self.dribblers = []
        for number in range(idle + dribbling):
            self.hold(self.api if number % 2 else self.agents, number >= idle)
        self.followers = [self.follow(job) for _ in range(followers)]
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def hold(self, door, dribbles):
        connection = socket.socket()
        connection.setblocking(False)
        connection.connect_ex(door)
        self.selector.register(connection, selectors.EVENT_READ, (door, dribbles))
        if dribbles:
            self.dribblers.append((connection, iter(b"GET /v1/jobs HTTP/1.1\r\nX-Long: " if door == self.api else b"RTR1\0\0\0\x40\0\0\0\0{")))

    def follow(self, job):
        connection = socket.create_connection(self.api, timeout=10)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(b"GET /v1/jobs/%d/stream?logs=true HTTP/1.1\r\nHost: localhost\r\n%s\r\n" % (job, self.headers))
        return connection  # and never read

    def run(self):
        next_byte = time.monotonic()
        while not self.stopping:
            for key, _ in self.selector.select(0.1):
                with contextlib.suppress(OSError):
                    if key.fileobj.recv(4096):
                        continue
                self.selector.unregister(key.fileobj)
                self.dribblers = [pair for pair in self.dribblers if pair[0] is not key.fileobj]
                key.fileobj.close()
                self.closed += 1
                self.hold(*key.data)
            if time.monotonic() >= next_byte:
                next_byte += 1
                for connection, text in self.dribblers:
                    with contextlib.suppress(OSError):
                        connection.send(bytes([next(text, 97)]))

    def stop(self):
        self.stopping = True
        self.thread.join()
        for key in list(self.selector.get_map().values()):
            key.fileobj.close()
        for connection in self.followers:
            connection.close()
