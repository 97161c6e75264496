#!/usr/bin/env python3
"""Sets up one transcoded call over linecard's control socket: SRTP/Opus on leg a, RTP/PCMU on leg b.

usage: transcode_call.py SOCKET A_REMOTE B_REMOTE      (remotes as IP:PORT)

Prints where each far end has to send to and the SRTP keys of leg a, waits for a line on standard
input, ends the call and prints its statistics. The protocol is described in src/control/README.md.
"""
import base64, json, os, socket, sys

path, a_remote, b_remote = sys.argv[1:]
connection = socket.socket(socket.AF_UNIX)
connection.connect(path)
lines = connection.makefile("rw")
greeting = json.loads(lines.readline())
assert greeting["product"] == "linecard" and greeting["protocol"] == 2, greeting


def request(command, **arguments):
    print(json.dumps({"id": 1, "command": command, "arguments": arguments}), file=lines, flush=True)
    while "event" in (answer := json.loads(lines.readline())):
        pass  # Events come between replies; this client needs none.
    return answer["result"] if "result" in answer else sys.exit(f"refused: {answer['error']}")


keys = {"profile": "AES_CM_128_HMAC_SHA1_80"}  # 16 bytes of key and 14 of salt in each direction
keys |= {way: base64.b64encode(os.urandom(30)).decode() for way in ("send", "receive")}
opus, pcmu = {"codec": "opus", "payload_type": 111}, {"codec": "pcmu", "payload_type": 0}
request("take_control")
created = request(
    "create_call",
    call=f"example-{os.getpid()}",
    a={"transport": {"kind": "plain", "remote": a_remote}, "security": {"kind": "srtp", **keys},
       "format": {"send": opus, "receive": [opus]}},
    b={"transport": {"kind": "plain", "remote": b_remote},
       "format": {"send": pcmu, "receive": [pcmu]}},
)
print(json.dumps({**created, "keys": keys}), flush=True)
sys.stdin.readline()
print(json.dumps(request("delete_call", call=f"example-{os.getpid()}")))
