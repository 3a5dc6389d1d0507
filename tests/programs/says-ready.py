"""Says READY=1 to NOTIFY_SOCKET once the file RELEASE exists, and serves nothing."""

import json
import os
import signal
import socket
import time

signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
print("not ready yet", flush=True)
while not os.path.exists(os.environ["RELEASE"]):
    time.sleep(0.005)
name = os.environ["NOTIFY_SOCKET"]
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
    sender.connect("\0" + name[1:] if name.startswith("@") else name)
    sender.send(b"STATUS=all is well\nREADY=1\n")
print(json.dumps({"notified": name, "watchdog": os.environ.get("WATCHDOG_USEC")}), flush=True)
print("ready", flush=True)
while True:
    signal.pause()
