"""One end of a connection of the cluster protocol, for tests that play a daemon's part."""
import json, struct


class Peer:
    def __init__(self, connection):
        self.connection = connection
        connection.settimeout(10)

    def take(self, *types):
        """The next message, or the next of these types."""
        while True:
            magic, size, body = struct.unpack(">4sII", self.exactly(12))
            assert magic == b"RTR1" and body == 0, (magic, size, body)
            message = json.loads(self.exactly(size))
            if not types or message["type"] in types:
                return message

    def exactly(self, count):
        data = b""
        while len(data) < count:
            piece = self.connection.recv(count - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data

    def say(self, type, **fields):
        text = json.dumps({"type": type, **fields}).encode()
        self.connection.sendall(b"RTR1" + struct.pack(">II", len(text), 0) + text)
