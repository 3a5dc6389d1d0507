"""An HTTP server on the sockets it has inherited. Answers one request a connection with
{pid, id}; `/block/ID` when the file RELEASE exists. Ends by SIGTERM between two answers."""

import json
import os
import select
import signal
import socket
import time

FIRST = 3


def answer(connection):
    words = connection.recv(65536).split(b" ")[1].decode().split("/")
    if words[1] == "block":
        print("blocked", flush=True)
    while words[1] == "block" and not os.path.exists(os.environ["RELEASE"]):
        time.sleep(0.005)
    body = json.dumps({"pid": os.getpid(), "id": words[-1]}).encode()
    head = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
    connection.sendall(head + body)
    connection.close()


wakeup, told = os.pipe()
os.set_blocking(told, False)
signal.set_wakeup_fd(told)
signal.signal(signal.SIGTERM, lambda *_: None)
assert int(os.environ["LISTEN_PID"]) == os.getpid()
count = int(os.environ["LISTEN_FDS"])
servers = [socket.socket(fileno=FIRST + number) for number in range(count)]
blocking = [os.get_blocking(server.fileno()) for server in servers]
print(json.dumps({"pid": os.getpid(), "sockets": count, "blocking": blocking}), flush=True)
for server in servers:
    server.setblocking(False)
while True:
    readable, _, _ = select.select([wakeup, *servers], [], [])
    if wakeup in readable:
        os._exit(0)
    for server in readable:
        try:
            connection, _ = server.accept()
        except BlockingIOError:
            continue
        connection.setblocking(True)
        answer(connection)
