"""One SPDY/3.1 connection without I/O.

Calls queue bytes for :meth:`Connection.data_to_send`; :meth:`Connection.step` turns the peer's
bytes, which :meth:`Connection.feed` is given, into events.

Flow control (SPDY/3.1, 2.6.8) is used in both directions, with one exception: the SPDY library of
most Kubernetes clients, and of other servers, ignores windows and never sends a WINDOW_UPDATE. So a
peer counts as paced only from its first SETTINGS or WINDOW_UPDATE on. Until then this side sends
without a window, and the driver limits what it receives by not reading the connection. A client
sends no windows to such a server: the server closes right after its last byte, and a later write
would make the kernel drop the bytes that were not read yet."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from asupervisor.streaming.spdy import frames
from asupervisor.streaming.spdy.codes import (
    FLAG_UNIDIRECTIONAL,
    SETTINGS_INITIAL_WINDOW_SIZE,
    FrameType,
    GoAwayStatus,
    ResetCode,
)
from asupervisor.streaming.spdy.events import (
    DataReceived,
    Event,
    GoAwayReceived,
    HeadersReceived,
    StreamOpened,
    StreamReset,
    WindowOpened,
)
from asupervisor.streaming.spdy.headers import (
    HeaderDecoder,
    HeaderEncoder,
    Headers,
    MalformedHeaders,
)
from asupervisor.streaming.spdy.limits import (
    DEFAULT_WINDOW,
    MAX_WINDOW,
    Limits,
    LocalProtocolError,
    RemoteProtocolError,
)
from asupervisor.streaming.spdy.states import Action, State
from asupervisor.streaming.spdy.streams import Role, StreamRecord, Streams

# long: both directions share one state; frames, headers, streams and states have their own files

UNITS_PER_STEP = 400
"""Units of work in one step, about a µs each."""
FRAME_UNITS = 6
HEAD_UNITS = 4
STREAM_UNITS = 40
"""Units for a whole frame, for the head of a frame without the rest, and for an opened stream."""
INFLATED_PER_UNIT = 50
"""Bytes of a header block that take one unit to inflate and to read."""

_END = object()
_CARRY_NOTHING = (FrameType.PING, FrameType.SETTINGS, FrameType.HEADERS, FrameType.GOAWAY)


class Connection:
    """The state of one connection, seen from one end.

    Args:
        role: which end this is.
        limits: of what the peer can make it keep.
    """

    def __init__(self, role: Role, limits: Limits | None = None) -> None:
        self._role = role
        self.limits = limits or Limits()
        self.peer_is_paced = False
        """Whether the peer takes part in flow control."""
        self.going_away = False
        """Whether one side has sent GOAWAY: no stream can be opened any more."""
        self._streams = Streams(role)
        self._parser = frames.FrameParser(self.limits.control_frame_bytes)
        self._encoder = HeaderEncoder()
        self._decoder = HeaderDecoder(self.limits)
        self._out: list[bytes] = []
        self._dead = False
        self._incoming: Iterator[frames.DataPart | frames.ControlFrame | None] = iter(())
        self._work = 0
        self.pending = False
        """Whether :meth:`step` has something to do."""
        self._empty_frames = 0
        self._settings_sent = False
        self._initial_send = self._initial_receive = DEFAULT_WINDOW
        self._send_window = self._receive_window = DEFAULT_WINDOW
        self._read_bytes = 0
        self._handlers: dict[FrameType, Callable[[frames.ControlFrame, list[Event]], None]] = {
            FrameType.SYN_STREAM: self._on_syn_stream,
            FrameType.SYN_REPLY: self._on_syn_reply,
            FrameType.RST_STREAM: self._on_rst_stream,
            FrameType.SETTINGS: self._on_settings,
            FrameType.PING: self._on_ping,
            FrameType.GOAWAY: self._on_goaway,
            FrameType.HEADERS: self._on_headers,
            FrameType.WINDOW_UPDATE: self._on_window_update,
        }

    # -- what this side does
    # -------------------------------------------------------------------------------------------

    def data_to_send(self) -> bytes:
        """Take the bytes that wait for the peer; frames are whole and in order."""
        out, self._out = self._out, []
        return b"".join(out)

    @property
    def open_streams(self) -> int:
        """Streams, of either side, that are not closed."""
        return len(self._streams)

    def send_settings(self) -> None:
        """Tell the peer the windows of :class:`Limits`; once.

        A server must not do so before the client has sent something: clients read the answer to
        their HTTP upgrade through a buffer that they then drop, and with it frames that come right
        after the answer."""
        if self._settings_sent:
            return
        self._settings_sent = True
        more = self.limits.stream_window - self._initial_receive
        self._initial_receive = self.limits.stream_window
        for _, stream in self._streams.items():
            stream.receive_window += more
        self._out.append(frames.settings(self.limits.stream_window))
        if self.limits.session_window > DEFAULT_WINDOW:
            self._receive_window += self.limits.session_window - DEFAULT_WINDOW
            self._out.append(frames.window_update(0, self.limits.session_window - DEFAULT_WINDOW))

    def open_stream(self, headers: Headers) -> int:
        """SYN_STREAM. Returns the new stream's id.

        Raises:
            LocalProtocolError: GOAWAY was sent, or no id is left.
        """
        if self.going_away or self._dead or self._streams.next_own > MAX_WINDOW:
            raise LocalProtocolError("the connection takes no new streams")
        stream_id = self._streams.next_own
        self._streams.next_own += 2
        stream = StreamRecord(State.SYN_SENT, self._initial_send, self._initial_receive)
        self._streams.add(stream_id, stream)
        self._out.append(frames.syn_stream(stream_id, self._encoder.encode(headers), 0))
        return stream_id

    def reply(self, stream_id: int, headers: Headers | None = None) -> None:
        """SYN_REPLY: accept the peer's stream. Clients drop data that comes before it."""
        self._streams.act(stream_id, Action.SEND_REPLY)
        self._out.append(frames.syn_reply(stream_id, self._encoder.encode(headers or {})))

    def send_capacity(self, stream_id: int) -> int:
        """Bytes that may be sent on a stream now; 0 or less means wait for :class:`WindowOpened`.

        Raises:
            LocalProtocolError: the stream is closed.
        """
        stream = self._streams.need(stream_id)
        return min(stream.send_window, self._send_window) if self.peer_is_paced else MAX_WINDOW

    def send_data(self, stream_id: int, data: bytes, *, fin: bool = False) -> None:
        """DATA, as one frame.

        Raises:
            LocalProtocolError: more than :meth:`send_capacity`, or the stream's state forbids it.
        """
        stream = self._streams.need(stream_id)
        if data and len(data) > min(self.send_capacity(stream_id), frames.MAX_PAYLOAD):
            raise LocalProtocolError(
                f"{len(data)} bytes on stream {stream_id} are more than its window takes"
            )
        if data:
            self._streams.act(stream_id, Action.SEND_DATA)
            stream.send_window -= len(data)
            self._send_window -= len(data)
        if fin:
            self._streams.act(stream_id, Action.SEND_FIN)
        self._out.append(frames.data_head(stream_id, len(data), fin))
        if data:
            self._out.append(data)

    def consume(self, stream_id: int, count: int) -> None:
        """Say that ``count`` received bytes were read, so that the peer may send as many more."""
        self._consume_session(count)
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        stream.read_bytes += count
        is_due = stream.read_bytes * 2 >= self._initial_receive and self._tells_windows
        if is_due and stream.state not in (State.HALF_CLOSED_REMOTE, State.SYN_RECEIVED_FIN):
            stream.receive_window += stream.read_bytes
            self._out.append(frames.window_update(stream_id, stream.read_bytes))
            stream.read_bytes = 0

    @property
    def _tells_windows(self) -> bool:
        return self.peer_is_paced or self._role is Role.SERVER

    def reset(self, stream_id: int, code: ResetCode = ResetCode.CANCEL) -> None:
        """RST_STREAM, unless the stream is closed already."""
        if self._streams.close(stream_id):
            self._out.append(frames.rst_stream(stream_id, code))

    def goaway(self, status: GoAwayStatus = GoAwayStatus.OK) -> None:
        """GOAWAY; send nothing after it, since clients stop reading at it."""
        if not self._dead:
            self.going_away = True
            self._out.append(frames.goaway(self._streams.last_of_peer, status))

    # -- what the peer does
    # --------------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Give :meth:`step` the next bytes of the peer, when :attr:`pending` is false."""
        self._incoming = self._parser.steps(data)
        self.pending = not self._dead

    def step(self, units: int = UNITS_PER_STEP) -> list[Event]:
        """Process frames until they took about ``units`` µs of work, or there are no more;
        :attr:`pending` says which.

        Raises:
            RemoteProtocolError: the connection has to end; a GOAWAY waits to be sent. The events
                of this step are lost.
        """
        events: list[Event] = []
        self._work = 0
        try:
            while self._work < units:
                frame = next(self._incoming, _END)
                if isinstance(frame, frames.DataPart):
                    self._work += FRAME_UNITS
                    self._empty_frames += not frame.data and not frame.fin
                    self._on_data(frame, events)
                elif isinstance(frame, frames.ControlFrame):
                    self._work += FRAME_UNITS
                    self._empty_frames += frame.type in _CARRY_NOTHING
                    inflated = self._decoder.inflated_bytes
                    self._handlers[frame.type](frame, events)
                    self._work += (self._decoder.inflated_bytes - inflated) // INFLATED_PER_UNIT
                elif frame is None:
                    self._work += HEAD_UNITS
                else:
                    self.pending = False
                    break
        except RemoteProtocolError:
            self.give_up()
            raise
        return events

    @property
    def empty_frames(self) -> int:
        """Frames so far without data: pings, settings, empty data, unknown ones."""
        return self._empty_frames + self._parser.unknown_frames

    def give_up(self) -> None:
        """Send GOAWAY and process nothing more."""
        self.goaway(GoAwayStatus.PROTOCOL_ERROR)
        self._dead = True
        self.pending = False

    def _on_data(self, frame: frames.DataPart, events: list[Event]) -> None:
        size = len(frame.data)
        self._receive_window -= size
        if self.peer_is_paced and self._receive_window < 0:
            raise RemoteProtocolError("more bytes than the session's window")
        stream = self._streams.get(frame.stream_id)
        if stream is None:
            self._consume_session(size)
            if not self._streams.was_open(frame.stream_id):
                self._out.append(frames.rst_stream(frame.stream_id, ResetCode.INVALID_STREAM))
            return  # the peer sent it before it knew that the stream was reset here
        stream.receive_window -= size
        if self.peer_is_paced and stream.receive_window < 0:
            code: ResetCode | None = ResetCode.FLOW_CONTROL_ERROR
        else:
            code = (
                self._streams.violation(frame.stream_id, stream, Action.RECEIVE_DATA)
                if size
                else None
            )
        if code is None and frame.fin:
            code = self._streams.violation(frame.stream_id, stream, Action.RECEIVE_FIN)
        if code is not None:
            self._consume_session(size)
            self._fail(frame.stream_id, code, events)
        elif size or frame.fin:
            events.append(DataReceived(frame.stream_id, frame.data, frame.fin))

    def _on_syn_stream(self, frame: frames.ControlFrame, events: list[Event]) -> None:
        stream_id = frame.stream_id
        # Before any refusal: the decompression needs every block.
        headers = self._headers(frame.payload[10:])
        if stream_id == 0 or self._streams.is_own(stream_id):
            raise RemoteProtocolError(
                f"the peer opened stream {stream_id}, which is not its to open"
            )
        if stream_id <= self._streams.last_of_peer:
            raise RemoteProtocolError(
                f"stream {stream_id} opened after stream {self._streams.last_of_peer}"
            )
        self._streams.last_of_peer = stream_id
        if self.going_away:
            return
        code = ResetCode.PROTOCOL_ERROR if headers is None else None
        if self._streams.of_peer >= self.limits.streams:
            code = ResetCode.REFUSED_STREAM
        if headers is None or code is not None:
            self._out.append(frames.rst_stream(stream_id, code or ResetCode.PROTOCOL_ERROR))
            return
        one_way = bool(frame.flags & FLAG_UNIDIRECTIONAL)
        if one_way and frame.fin:
            return  # it is closed in both directions already
        state = (
            State.HALF_CLOSED_LOCAL
            if one_way
            else State.SYN_RECEIVED_FIN
            if frame.fin
            else State.SYN_RECEIVED
        )
        self._streams.add(stream_id, StreamRecord(state, self._initial_send, self._initial_receive))
        self._work += STREAM_UNITS
        events.append(StreamOpened(stream_id, headers, frame.fin, one_way))

    def _on_syn_reply(self, frame: frames.ControlFrame, events: list[Event]) -> None:
        self._on_headers_of(frame, Action.RECEIVE_REPLY, events)

    def _on_headers(self, frame: frames.ControlFrame, events: list[Event]) -> None:
        self._on_headers_of(frame, Action.RECEIVE_DATA, events)

    def _on_headers_of(
        self, frame: frames.ControlFrame, action: Action, events: list[Event]
    ) -> None:
        """Headers for an existing stream, which may be a violation."""
        stream_id, headers = frame.stream_id, self._headers(frame.payload[4:])
        if stream_id == 0:
            raise RemoteProtocolError("headers for stream 0")
        stream = self._streams.get(stream_id)
        if stream is None:
            if not self._streams.was_open(stream_id):
                self._out.append(frames.rst_stream(stream_id, ResetCode.INVALID_STREAM))
            return
        code = ResetCode.PROTOCOL_ERROR if headers is None else None
        for one in (action, Action.RECEIVE_FIN) if frame.fin else (action,):
            code = code or self._streams.violation(stream_id, stream, one)
        if code is not None:
            self._fail(stream_id, code, events)
        elif headers is not None:
            events.append(HeadersReceived(stream_id, headers, frame.fin))

    def _on_rst_stream(self, frame: frames.ControlFrame, events: list[Event]) -> None:
        if self._streams.close(frame.stream_id):
            events.append(StreamReset(frame.stream_id, frame.word(1), by_peer=True))

    def _on_settings(self, frame: frames.ControlFrame, events: list[Event]) -> None:
        self.peer_is_paced = True
        self._work += len(frame.payload) // 16 + len(self._streams)
        window = frames.parse_settings(frame.payload).get(SETTINGS_INITIAL_WINDOW_SIZE)
        if window is None:
            return
        if window > MAX_WINDOW:
            raise RemoteProtocolError(f"an initial window of {window} bytes")
        more, self._initial_send = window - self._initial_send, window
        for stream_id, stream in list(self._streams.items()):
            stream.send_window += more
            if stream.send_window > MAX_WINDOW:
                self._fail(stream_id, ResetCode.FLOW_CONTROL_ERROR, events)
        if more > 0:
            events.append(WindowOpened(0))

    def _on_ping(self, frame: frames.ControlFrame, events: list[Event]) -> None:
        ping_id = frame.word(0)
        if not self._streams.is_own(ping_id):  # this side sends none
            self._out.append(frames.ping(ping_id))

    def _on_goaway(self, frame: frames.ControlFrame, events: list[Event]) -> None:
        self.going_away = True
        self._work += len(self._streams)
        events.append(GoAwayReceived(frame.stream_id, frame.word(1)))
        for stream_id in [
            one
            for one, _ in self._streams.items()
            if self._streams.is_own(one) and one > frame.stream_id
        ]:
            self._streams.close(stream_id)
            events.append(StreamReset(stream_id, ResetCode.REFUSED_STREAM, by_peer=True))

    def _on_window_update(self, frame: frames.ControlFrame, events: list[Event]) -> None:
        self.peer_is_paced = True
        delta = frame.word(1) & MAX_WINDOW
        if frame.stream_id == 0:
            self._send_window += delta
            if delta == 0 or self._send_window > MAX_WINDOW:
                raise RemoteProtocolError("a WINDOW_UPDATE that breaks the session's window")
            self._work += len(self._streams)  # all streams look at their windows again
            events.append(WindowOpened(0))
            return
        stream = self._streams.get(frame.stream_id)
        if stream is None:
            return  # closed here before the peer knew
        stream.send_window += delta
        if delta == 0 or stream.send_window > MAX_WINDOW:
            self._fail(frame.stream_id, ResetCode.FLOW_CONTROL_ERROR, events)
        else:
            events.append(WindowOpened(frame.stream_id))

    def _headers(self, block: bytes) -> Headers | None:
        try:
            return self._decoder.decode(block)
        except MalformedHeaders:
            return None

    def _fail(self, stream_id: int, code: ResetCode, events: list[Event]) -> None:
        self._streams.close(stream_id)
        self._out.append(frames.rst_stream(stream_id, code))
        events.append(StreamReset(stream_id, code, by_peer=False))

    def _consume_session(self, count: int) -> None:
        self._read_bytes += count
        window = self.limits.session_window if self._settings_sent else DEFAULT_WINDOW
        if self._read_bytes * 2 >= window and self._tells_windows:
            self._receive_window += self._read_bytes
            self._out.append(frames.window_update(0, self._read_bytes))
            self._read_bytes = 0
