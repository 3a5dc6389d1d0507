"""Speaks the cluster protocol on its channel by itself. The first worker that can create
the file ONCE misbehaves as its argument says; all others serve PORT and behave."""

import json
import os
import socket
import sys
import time

channel = socket.socket(fileno=int(os.environ["NODE_CHANNEL_FD"]))
channel.setblocking(True)
seq = 0


def send(message):
    global seq
    seq += 1
    channel.sendall((json.dumps({**message, "seq": seq}) + "\n").encode())


def act(**fields):
    send({"cmd": "NODE_CLUSTER", **fields})


def say(**fields):
    print(json.dumps({"pid": os.getpid(), **fields}), flush=True)


def misbehaves():
    try:
        os.close(os.open(os.environ["ONCE"], os.O_CREAT | os.O_EXCL))
        return True
    except FileExistsError:
        return False


def messages():
    """Messages of the primary, each with its descriptor if it has one: they come in the
    order of the messages they belong to, perhaps together with plain ones before."""
    unfinished, handles = b"", []
    while True:
        data, more, _, _ = socket.recv_fds(channel, 65536, 16)
        if not data:
            return
        handles += more
        *lines, unfinished = (unfinished + data).split(b"\n")
        for message in map(json.loads, lines):
            has_handle = message.get("cmd") == "NODE_HANDLE"
            yield message, handles.pop(0) if has_handle else None


def answer(connection):
    request = b""
    while b"\r\n\r\n" not in request:
        data = connection.recv(4096)
        if not data:
            return
        request += data
    path = request.split(b" ")[1].decode()
    body = json.dumps({"pid": os.getpid(), "id": path[1:]})
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    connection.sendall((head + body).encode())


def serve(acknowledges=True, on_listening=lambda: None):
    port = int(os.environ["PORT"])
    query = {"index": 0, "data": None, "address": "127.0.0.1", "port": port, "addressType": 4}
    act(act="queryServer", flags=0, backlog=511, **query)
    asked = seq
    for message, handle in messages():
        if handle is not None:
            if acknowledges:
                send({"cmd": "NODE_HANDLE_ACK"})
            act(ack=message["msg"]["seq"], accepted=True)
            with socket.socket(fileno=handle) as connection:
                connection.setblocking(True)
                answer(connection)
        elif message.get("ack") == asked:
            act(act="listening", **query)
            on_listening()
        elif message.get("act") == "disconnect":
            return


def stop_reading():
    channel.shutdown(socket.SHUT_RD)
    say(did="stops-reading")
    while True:
        time.sleep(1000)


def never_acknowledge():
    say(did="never-acknowledges")
    serve(acknowledges=False)


def send_stray_handles():
    handles = [os.open("/dev/null", os.O_RDONLY) for _ in range(200)]
    for _ in range(30):
        socket.send_fds(channel, [b" "], handles)
    say(did="stray-handles")
    while True:
        time.sleep(1000)


act(act="online")
misdeeds = {
    "never-acknowledges": never_acknowledge,
    "stray-handles": send_stray_handles,
    "stops-reading": lambda: serve(on_listening=stop_reading),
}
if misbehaves():
    misdeeds[sys.argv[1]]()
else:
    serve()
