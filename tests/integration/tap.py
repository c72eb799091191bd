"""Sits between an agent and its head, and says to the agent what the head does not."""
import json, socket, struct, threading


class Tap:
    def __init__(self, head):
        host, port = head.rsplit(":", 1)
        self.head = (host, int(port))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.lock, self.agent = threading.Lock(), None
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                agent = self.listener.accept()[0]
            except OSError:
                return
            try:
                head = socket.create_connection(self.head)
            except OSError:
                agent.close()
                continue
            with self.lock:
                self.agent = agent
            threading.Thread(target=self.pump, args=(agent, head), daemon=True).start()
            threading.Thread(target=self.pump_frames, args=(head, agent), daemon=True).start()

    def pump(self, source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        self.end(source, sink)

    def pump_frames(self, source, sink):
        """Whole frames, so that another fits in between."""
        def exactly(count):
            data = b""
            while len(data) < count:
                piece = source.recv(count - len(data))
                if not piece:
                    raise OSError
                data += piece
            return data
        try:
            while True:
                begin = exactly(12)
                _, size, body = struct.unpack(">4sII", begin)
                frame = begin + exactly(size + body)
                with self.lock:
                    sink.sendall(frame)
        except OSError:
            pass
        self.end(source, sink)

    def end(self, *sockets):
        for one in sockets:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def say(self, type, **fields):
        text = json.dumps({"type": type, **fields}).encode()
        with self.lock:
            self.agent.sendall(b"RTR1" + struct.pack(">II", len(text), 0) + text)

    def close(self):
        self.listener.close()
