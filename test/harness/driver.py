"""Drives python-socketio, with threads or with asyncio, by lines of JSON: [connection, number, command, arguments...] comes in,
[connection, number, ok, result] and [connection, null, namespace, what, details...] go out."""

import asyncio
import base64
import json
import sys
import threading

import engineio.payload
import socketio

engineio.payload.Payload.max_decode_packets = 1000  # the client gives up at 17 packets in a payload


def pack(value):
    if isinstance(value, (bytes, bytearray)):
        return {"$binary": base64.b64encode(value).decode()}
    if isinstance(value, (list, tuple)):
        return [pack(each) for each in value]
    if isinstance(value, dict):
        return {key: pack(each) for key, each in value.items()}
    return value


def unpack(value):
    if isinstance(value, (list, tuple)):
        return [unpack(each) for each in value]
    if isinstance(value, dict):
        if "$binary" in value:
            return base64.b64decode(value["$binary"])
        return {key: unpack(each) for key, each in value.items()}
    return value


writing = threading.Lock()  # sys.stdout loses lines that threads write at the same time


def write(*line):
    text = json.dumps(line) + "\n"
    with writing:
        sys.stdout.write(text)
        sys.stdout.flush()


class Connection:
    def __init__(self, number):
        self.number = number
        self.turn = asyncio.Lock()  # keeps the order of the commands

    async def run(self, function, *args, **kwargs):
        async with self.turn:
            if self.asynchronous:
                return await function(*args, **kwargs)
            return await asyncio.to_thread(function, *args, **kwargs)

    def watch(self, name):
        def tell(what, *details):
            write(self.number, None, name, what, *pack(details))

        def connect():
            tell("connect", self.client.namespaces.get(name), False)

        def disconnect():
            tell("disconnect", None)

        def refused(error=None):
            tell("refused", error)

        def event(event, *args):
            tell("event", event, *args)

        def question(*args):
            tell("event", "question", *args)
            return args

        for each in (connect, disconnect):
            self.client.on(each.__name__, each, namespace=name)
        self.client.on("connect_error", refused, namespace=name)
        self.client.on("*", event, namespace=name)
        self.client.on("question", question, namespace=name)

    async def open(self, url, names, options):
        self.asynchronous = options["asyncio"]
        kind = socketio.AsyncClient if self.asynchronous else socketio.Client
        self.client = kind(
            serializer=options["serializer"], handle_sigint=False,
            reconnection_delay=0.1, reconnection_delay_max=0.2, randomization_factor=0,
        )
        for name in names:
            self.watch(name)
        await self.run(
            self.client.connect, url, namespaces=names, auth=options.get("auth"),
            transports=options.get("transports"), wait=False,
        )

    async def emit(self, name, event, *args):
        await self.run(self.client.emit, event, tuple(args), namespace=name)

    async def call(self, name, event, *args):
        loop, answer = asyncio.get_running_loop(), asyncio.get_running_loop().create_future()

        def acknowledged(*values):
            loop.call_soon_threadsafe(answer.set_result, values)

        await self.run(self.client.emit, event, tuple(args), namespace=name, callback=acknowledged)
        return await answer

    async def disconnect(self, name):
        await self.run(self.client.disconnect)  # which knows no single namespaces

    async def engine(self):
        return {"transport": self.client.transport() if self.client.eio.state == "connected" else None}

    async def hangUp(self):
        await self.run(self.client.eio.disconnect)

    async def end(self):
        self.client.reconnection = False
        await self.run(self.client.disconnect)


async def main():
    connections = {}
    loop, lines = asyncio.get_running_loop(), asyncio.Queue()

    def read():
        for line in sys.stdin:
            loop.call_soon_threadsafe(lines.put_nowait, json.loads(line))
        loop.call_soon_threadsafe(lines.put_nowait, None)

    async def act(number, id, command, *args):
        connection = connections.setdefault(number, Connection(number))
        try:
            write(number, id, True, pack(await getattr(connection, command)(*unpack(args))))
        except Exception as error:  # the test is told
            write(number, id, False, repr(error))

    threading.Thread(target=read, daemon=True).start()
    running = set()
    while (line := await lines.get()) is not None:
        task = asyncio.create_task(act(*line))
        running.add(task)
        task.add_done_callback(running.discard)


asyncio.run(main())
