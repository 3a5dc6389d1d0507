//! The very bytes: what is written, and what is refused.

use std::time::Duration;

use forkyard_ipc::{
    AgentOrder, Dialect, EncodeError, Family, HandleKind, MAX_DEPTH, ParseError, PrimaryMessage,
    ServerReply, SockName, Transport, Value, ViewKind, WorkerMessage,
};

use crate::recordings;

fn line(message: &PrimaryMessage) -> String {
    let mut out = Vec::new();
    message.encode(Dialect::Json, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn worker(line: &str) -> Result<WorkerMessage, ParseError> {
    WorkerMessage::parse(Dialect::Json, line.as_bytes())
}

fn reply() -> ServerReply {
    ServerReply {
        errno: 0,
        key: "K".to_owned(),
        data: None,
        sockname: None,
        handle: None,
        transport: Transport::Tcp,
    }
}

fn sockname() -> SockName {
    SockName { address: "127.0.0.1".to_owned(), family: Family::IPv4, port: 80 }
}

#[test]
fn a_primary_writes_what_nodes_own_does() {
    let server = |reply| PrimaryMessage::ServerReply { ack: 1, seq: 2, reply };
    for (message, expected) in [
        (PrimaryMessage::HandleAck, r#"{"cmd":"NODE_HANDLE_ACK"}"#),
        (
            PrimaryMessage::Disconnect { seq: 8 },
            r#"{"cmd":"NODE_CLUSTER","act":"disconnect","seq":8}"#,
        ),
        (PrimaryMessage::Ack { ack: 5, seq: 9 }, r#"{"cmd":"NODE_CLUSTER","ack":5,"seq":9}"#),
        (
            PrimaryMessage::Agent(AgentOrder::Drain {
                grace: Duration::from_secs(2),
                tell: vec!["forkyard:drain".to_owned()],
            }),
            r#"{"cmd":"NODE_FORKYARD","act":"drain","graceMs":2000,"tell":["forkyard:drain"]}"#,
        ),
        (
            server(ServerReply { sockname: Some(sockname()), ..reply() }),
            r#"{"cmd":"NODE_CLUSTER","errno":null,"key":"K","data":null,"sockname":{"address":"127.0.0.1","family":"IPv4","port":80},"ack":1,"seq":2}"#,
        ),
        (
            server(ServerReply { errno: -98, ..reply() }),
            r#"{"cmd":"NODE_CLUSTER","errno":-98,"key":"K","data":null,"ack":1,"seq":2}"#,
        ),
        (
            server(ServerReply {
                handle: Some(HandleKind::DgramNative),
                transport: Transport::Udp,
                ..reply()
            }),
            r#"{"cmd":"NODE_HANDLE","type":"dgram.Native","msg":{"cmd":"NODE_CLUSTER","errno":0,"key":"K","data":null,"ack":1,"seq":2}}"#,
        ),
    ] {
        assert_eq!(line(&message), format!("{expected}\n"));
    }
}

#[test]
fn handles_say_what_deno_needs_to_know() {
    let listener =
        ServerReply { handle: Some(HandleKind::NetNative), transport: Transport::Pipe, ..reply() };
    let listener = PrimaryMessage::ServerReply { ack: 1, seq: 2, reply: listener };
    assert!(line(&listener).ends_with("},\"nativeKind\":\"pipe\",\"socketType\":1}\n"));

    let connection =
        PrimaryMessage::NewConnection { seq: 7, key: "K".to_owned(), transport: Transport::Tcp };
    let expected = r#"{"cmd":"NODE_HANDLE","type":"net.Native","msg":{"cmd":"NODE_CLUSTER","act":"newconn","key":"K","seq":7},"nativeKind":"tcp","socketType":0}"#;
    assert_eq!(line(&connection), format!("{expected}\n"));
}

#[test]
fn a_connection_is_written_without_allocating_in_a_buffer_with_room() {
    for dialect in [Dialect::Json, Dialect::Advanced] {
        let mut out = Vec::with_capacity(256);
        let place = out.as_ptr();
        PrimaryMessage::encode_new_connection(dialect, 7, "K", Transport::Tcp, &mut out).unwrap();
        assert_eq!((out.as_ptr(), out.capacity()), (place, 256), "{dialect}");
    }
}

#[test]
fn a_reply_is_understood_however_it_is_written() {
    for (line, accepted) in [
        (r#"{"cmd":"NODE_CLUSTER","ack":7,"accepted":true,"seq":3}"#, true),
        (r#"{"cmd":"NODE_CLUSTER","ack":7,"accepted":false,"seq":3}"#, false),
        (r#"{"cmd":"NODE_CLUSTER","ack":7,"accepted":true}"#, true),
        (r#"{"cmd":"NODE_CLUSTER","ack":7,"seq":3}"#, false),
        (r#"{ "seq":3, "accepted":true, "ack":7.0, "extra":{}, "cmd":"NODE_CLUSTER" }"#, true),
    ] {
        assert_eq!(worker(line).unwrap(), WorkerMessage::Reply { ack: 7, accepted }, "{line}");
    }
}

#[test]
fn what_a_worker_forges_is_refused() {
    for forged in [
        "",
        "{",
        r#"{"cmd":"NODE_CLUSTER","ack":-1,"accepted":true,"seq":3}"#,
        r#"{"cmd":"NODE_CLUSTER","ack":1.5}"#,
        r#"{"cmd":"NODE_CLUSTER","ack":"7"}"#,
        r#"{"cmd":"NODE_CLUSTER","ack":7,"accepted":"yes"}"#,
        r#"{"cmd":"NODE_CLUSTER","ack":1e300}"#,
        r#"{"cmd":"NODE_CLUSTER","act":7}"#,
        r#"{"cmd":"NODE_CLUSTER","act":"online","seq":"0"}"#,
        r#"{"cmd":"NODE_CLUSTER","act":"close","seq":4}"#,
        r#"{"cmd":"NODE_CLUSTER","act":"close","key":{},"seq":4}"#,
        r#"{"cmd":"NODE_CLUSTER","act":"exitedAfterDisconnect"}"#,
        r#"{"cmd":"NODE_CLUSTER","act":"queryServer","addressType":4}"#,
        r#"{"cmd":"NODE_CLUSTER","act":"queryServer","addressType":5,"seq":1}"#,
        r#"{"cmd":"NODE_CLUSTER","act":"queryServer","addressType":"tcp","seq":1}"#,
        r#"{"cmd":"NODE_CLUSTER","act":"queryServer","addressType":4,"address":[],"seq":1}"#,
        r#"{"cmd":"NODE_CLUSTER","act":"queryServer","addressType":4,"flags":-1,"seq":1}"#,
        r#"{"cmd":"NODE_CLUSTER","act":"queryServer","addressType":4,"index":4e30,"seq":1}"#,
        r#"{"cmd":"NODE_HANDLE","msg":{}}"#,
        r#"{"cmd":"NODE_HANDLE","type":"net.Socket"}"#,
        r#"{"cmd":"NODE_HANDLE","type":"net.Socket","key":7,"msg":{}}"#,
        r#"{"cmd":"NODE_SOCKET_GET_COUNT"}"#,
    ] {
        assert!(worker(forged).is_err(), "{forged}");
    }
}

#[test]
fn what_means_nothing_to_a_primary_is_named() {
    for (line, name, with_handle) in [
        (r#"{"cmd":"NODE_CLUSTER","act":"dance"}"#, "NODE_CLUSTER", false),
        (r#"{"cmd":"NODE_CLUSTER"}"#, "NODE_CLUSTER", false),
        (r#"{"cmd":"NODE_FUTURE","x":1}"#, "NODE_FUTURE", false),
        (
            r#"{"cmd":"NODE_HANDLE","type":"net.Native","msg":{"cmd":"NODE_CLUSTER"}}"#,
            "NODE_HANDLE",
            true,
        ),
    ] {
        let message = worker(line).unwrap();
        assert_eq!(message, WorkerMessage::Unknown { cmd: name.to_owned() }, "{line}");
        assert_eq!(message.needs_handle(), with_handle, "{line}");
    }
}

#[test]
fn a_program_cannot_send_what_is_nodes() {
    let message = Value::object([("cmd", Value::from("NODE_HANDLE_ACK"))]);
    for message in [
        PrimaryMessage::User(message.clone()),
        PrimaryMessage::Handle { kind: HandleKind::NetNative, message },
    ] {
        let mut out = b"before".to_vec();
        let refused = message.encode(Dialect::Json, &mut out);
        assert!(matches!(refused, Err(EncodeError::Reserved { .. })));
        assert_eq!(out, b"before");
    }
}

fn nested(levels: usize) -> Value {
    (0..levels).fold(Value::Null, |inner, _| Value::Array(vec![inner]))
}

#[test]
fn nesting_ends_at_the_same_depth_in_both_dialects() {
    for dialect in [Dialect::Json, Dialect::Advanced] {
        let mut out = Vec::new();
        let deepest = WorkerMessage::User(nested(MAX_DEPTH));
        deepest.encode(dialect, &mut out).unwrap();
        let frame = recordings::frames(dialect, &[&out]).remove(0);
        assert_eq!(WorkerMessage::parse(dialect, &frame).unwrap(), deepest);

        let deeper = WorkerMessage::User(nested(MAX_DEPTH + 1));
        assert!(matches!(deeper.encode(dialect, &mut out), Err(EncodeError::TooDeep)));
        let kind = HandleKind::NetServer;
        let wrapped = WorkerMessage::Handle { kind, message: nested(MAX_DEPTH) };
        assert!(matches!(wrapped.encode(dialect, &mut out), Err(EncodeError::TooDeep)));
    }
}

fn advanced(body: &[u8]) -> Result<WorkerMessage, ParseError> {
    WorkerMessage::parse(Dialect::Advanced, body)
}

#[test]
fn bytes_that_v8_would_not_write_are_refused() {
    let deep = [&[0xff, 15][..], &[b'A', 1].repeat(100_000)].concat();
    let cases: [(&str, &[u8]); 16] = [
        ("nothing", b""),
        ("no header", b"o{\0"),
        ("a version of the past", b"\xff\x0c0"),
        ("a version of the future", b"\xff\x110"),
        ("no value", b"\xff\x0f"),
        ("a second value", b"\xff\x0f00"),
        ("an unknown tag", b"\xff\x0f!"),
        ("a string longer than the message", b"\xff\x0f\"\xff\xff\xff\xff\x0fx"),
        ("an array longer than the message", b"\xff\x0fA\xff\xff\xff\xff\x0f"),
        ("a buffer longer than the message", b"\xff\x0fB\xff\xff\xff\xff\x0f"),
        ("a number of too many digits", b"\xff\x0fU\xff\xff\xff\xff\xff\x01"),
        ("half a two-byte character", b"\xff\x0fc\x01x"),
        ("a wrong count", b"\xff\x0fo{\x01"),
        ("a reference to nothing", b"\xff\x0f^\0"),
        ("a view beyond its buffer", b"\xff\x0fB\x01xVB\x01\x01\0"),
        ("depth", &deep),
    ];
    for (what, bytes) in cases {
        assert!(advanced(bytes).is_err(), "{what}");
    }
}

#[test]
fn older_views_have_no_flags() {
    for (bytes, flags) in
        [(&b"\xff\x0dB\x02xyVB\x01\x01"[..], 0), (&b"\xff\x0eB\x02xyVB\x01\x01\x02"[..], 2)]
    {
        let WorkerMessage::User(Value::View(view)) = advanced(bytes).unwrap() else {
            panic!("a view");
        };
        let found = (view.kind, view.offset, view.length, view.flags);
        assert_eq!(found, (ViewKind::Uint8Array, 1, 1, flags));
    }
}
