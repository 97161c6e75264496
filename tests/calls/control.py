"""An observer on the media process's control socket: one JSON object a line."""

import json
import socket


class Control:
    def __init__(self, path, timeout_s=5):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout_s)
        self.socket.connect(str(path))
        self.lines = self.socket.makefile("rb")
        self.greeting = json.loads(self.lines.readline())
        self.number = 0

    def request(self, command, **arguments):
        """The reply's whole line; events in between are passed over."""
        self.number += 1
        request = {"id": self.number, "command": command, "arguments": arguments}
        self.socket.sendall(json.dumps(request).encode() + b"\n")
        while True:
            line = self.lines.readline()
            assert line, f"the media process closed the control socket at {command}"
            reply = json.loads(line)
            if reply.get("id") == self.number:
                return reply

    def event(self, kind):
        """The next event of this kind; what comes before it is passed over."""
        while True:
            line = self.lines.readline()
            assert line, f"the media process closed the control socket before an event {kind}"
            event = json.loads(line)
            if event.get("event") == kind:
                return event

    def result(self, command, **arguments):
        reply = self.request(command, **arguments)
        assert "result" in reply, f"{command}: {reply}"
        return reply["result"]

    def calls(self):
        return self.result("list_calls")["calls"]

    def discards(self):
        """Datagrams discarded so far, by reason, over all threads."""
        counts = {}
        for thread in self.result("query_process")["threads"]:
            for reason, count in thread["discards"].items():
                counts[reason] = counts.get(reason, 0) + count
        return counts

    def close(self):
        self.lines.close()
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *raised):
        self.close()
