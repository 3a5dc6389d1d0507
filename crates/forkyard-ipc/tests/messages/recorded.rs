//! Real Node processes are understood: every message of every recording, and what
//! is written in its place.

use crate::recordings::{self, Recording};
use forkyard_ipc::{
    AddressType, ArrayBuffer, BigInt, Bytes, Dialect, ErrorKind, ErrorValue, Family, HandleKind,
    PrimaryMessage, RegExp, ServerQuery, ServerReply, SocketAnswer, SocketQuery, SparseArray,
    Transport, Value, ViewKind, WorkerMessage,
};

fn from_worker(recording: &Recording) -> Vec<WorkerMessage> {
    let parse = |frame: &Vec<u8>| WorkerMessage::parse(recording.dialect, frame);
    recording.frames().iter().map(|frame| parse(frame).unwrap()).collect()
}

fn from_primary(recording: &Recording) -> Vec<PrimaryMessage> {
    let parse = |frame: &Vec<u8>| PrimaryMessage::parse(recording.dialect, frame);
    recording.frames().iter().map(|frame| parse(frame).unwrap()).collect()
}

fn object<const N: usize>(properties: [(&str, Value); N]) -> Value {
    Value::object(properties)
}

fn bytes(kind: ViewKind, bytes: &[u8]) -> Value {
    Bytes { kind, bytes: bytes.to_vec() }.into()
}

fn sparse<const N: usize>(length: u32, entries: [(&str, &str); N]) -> Value {
    let entries = entries.map(|(name, value)| (name.to_owned(), Value::from(value))).to_vec();
    SparseArray { length, entries }.into()
}

/// `plainMessages()` of `record.js`.
fn plain_messages() -> Vec<Value> {
    let nested =
        Value::Array(vec![1.into(), Value::Array(vec![2.into(), Value::Array(vec![3.into()])])]);
    vec![
        "ascii".into(),
        "latin: é".into(),
        "wide: €".into(),
        "pair: \u{1f600}".into(),
        "half: \u{fffd}".into(),
        42.into(),
        (-7).into(),
        2147483648.0.into(),
        9007199254740992.0.into(),
        0.5.into(),
        true.into(),
        false.into(),
        Value::Null,
        object([
            ("7", "seven".into()),
            ("nested", object([("list", nested), ("empty", object([]))])),
            ("cmd", "NODE_".into()),
        ]),
        object([("cmd", "not internal".into())]),
        Value::Array(vec![]),
    ]
}

/// `advancedMessages()` of `record.js`.
fn advanced_messages() -> Vec<Value> {
    let shared = object([("shared", true.into())]);
    let big = BigInt::from(-(1_i128 << 70));
    let values = [
        Value::Undefined,
        (-0.0).into(),
        f64::NAN.into(),
        f64::INFINITY.into(),
        BigInt::from(123).into(),
        big.into(),
        BigInt::from(0).into(),
        Value::Date(1_700_000_000_123.0),
        RegExp { source: r"a+\/b".to_owned(), flags: 1 | 2 | 16 }.into(),
        Value::Map(vec![
            ("key".into(), 1.into()),
            (object([("object", true.into())]), "value".into()),
        ]),
        Value::Set(vec![1.into(), "two".into()]),
        bytes(ViewKind::Buffer, b"bytes"),
        bytes(ViewKind::Uint8Array, &[1, 2, 255]),
        bytes(ViewKind::Int16Array, &[255, 255, 2, 0]),
        bytes(ViewKind::Float64Array, &0.5_f64.to_le_bytes()),
        bytes(ViewKind::BigInt64Array, &(-5_i64).to_le_bytes()),
        bytes(ViewKind::DataView, &[0; 3]),
        ArrayBuffer { bytes: vec![0; 4], max_length: None }.into(),
        the_error(),
        Value::Array(
            [1.into(), "s".into(), true.into(), BigInt::from(9).into()]
                .map(|inner| Value::Boxed(Box::new(inner)))
                .to_vec(),
        ),
        sparse(3, [("0", "first"), ("2", "third")]),
        sparse(5001, [("5000", "far")]),
        sparse(1, [("0", "element"), ("name", "property")]),
        Value::Array(vec![shared, Value::Reference(2)]),
    ];
    let mut messages: Vec<_> = values.into_iter().map(|value| object([("value", value)])).collect();
    let cycle = object([("name", "cycle".into()), ("me", Value::Reference(1))]);
    messages.push(object([("value", cycle)]));
    messages
}

fn the_error() -> Value {
    let stack = "TypeError: broken\n    at a recording".to_owned();
    ErrorValue {
        kind: ErrorKind::TypeError,
        message: Some("broken".to_owned()),
        stack: Some(stack),
        cause: Some("the cause".into()),
    }
    .into()
}

fn all_messages(dialect: Dialect) -> Vec<Value> {
    match dialect {
        Dialect::Json => plain_messages(),
        Dialect::Advanced => plain_messages().into_iter().chain(advanced_messages()).collect(),
    }
}

/// Values of messages that a test compares: NaN is equal to nothing, so as text.
fn shown(values: &[Value]) -> String {
    format!("{values:#?}")
}

#[test]
fn a_workers_messages_of_the_program_are_read() {
    for recording in recordings::of_workers() {
        let user = from_worker(&recording).into_iter().filter_map(|message| match message {
            WorkerMessage::User(value) => Some(value),
            _ => None,
        });
        let expected = all_messages(recording.dialect);
        let said: Vec<_> = user.take(expected.len()).collect();
        assert_eq!(shown(&said), shown(&expected), "{}", recording.name);
    }
}

#[test]
fn a_primarys_messages_of_the_program_are_read() {
    for recording in recordings::of_primaries() {
        let user = from_primary(&recording).into_iter().filter_map(|message| match message {
            PrimaryMessage::User(value) => Some(value),
            _ => None,
        });
        let said: Vec<_> = user.collect();
        let mut expected = all_messages(recording.dialect);
        expected.push("that was all".into());
        assert_eq!(shown(&said), shown(&expected), "{}", recording.name);
    }
}

#[test]
fn the_first_and_the_last_message_of_a_worker_are_known() {
    for recording in recordings::of_workers() {
        let messages = from_worker(&recording);
        let online =
            messages.iter().filter(|message| matches!(message, WorkerMessage::Online { seq: 0 }));
        assert_eq!(online.count(), 2, "{}", recording.name);
        assert_eq!(messages[0], WorkerMessage::Online { seq: 0 });
        let leaving = messages.iter().filter(
            |message| matches!(message, WorkerMessage::ExitedAfterDisconnect { seq } if *seq > 15),
        );
        assert_eq!(leaving.count(), 1, "{}", recording.name);
    }
}

fn query(address: Option<&str>, port: Option<i64>, address_type: AddressType) -> ServerQuery {
    ServerQuery {
        index: 0,
        address: address.map(str::to_owned),
        port,
        address_type,
        fd: None,
        flags: 0,
        backlog: None,
        readable_all: false,
        writable_all: false,
        data: None,
    }
}

/// What `record.js` listens on, but for the ticket keys of the last but one.
fn expected_queries() -> Vec<ServerQuery> {
    let local = Some("127.0.0.1");
    let socket = Some("/tmp/forkyard-recording/recording.sock");
    vec![
        query(local, Some(0), AddressType::Tcp4),
        ServerQuery { backlog: Some(9), ..query(None, Some(0), AddressType::Tcp4) },
        ServerQuery {
            flags: 1,
            backlog: Some(17),
            ..query(Some("::1"), Some(0), AddressType::Tcp6)
        },
        ServerQuery { readable_all: true, ..query(socket, Some(-1), AddressType::Unix) },
        ServerQuery { fd: Some(9999), ..query(None, None, AddressType::Descriptor) },
        ServerQuery { index: 1, ..query(local, Some(0), AddressType::Tcp4) },
        ServerQuery { fd: Some(-1), ..query(local, None, AddressType::Udp4) },
    ]
}

/// Takes the ticket keys of a TLS server, which are random, out of a query.
fn take_ticket_keys(query: &mut ServerQuery) -> Option<usize> {
    let data = query.data.take()?;
    Some(data.get("ticketKeys")?.as_str()?.len())
}

#[test]
fn what_a_worker_asks_for_is_read() {
    for recording in recordings::of_workers() {
        let queries = from_worker(&recording).into_iter().filter_map(|message| match message {
            WorkerMessage::QueryServer { seq, query } => Some((seq, query)),
            _ => None,
        });
        let (numbers, mut queries): (Vec<_>, Vec<_>) = queries.unzip();
        assert!(numbers.is_sorted_by(|a, b| a < b) && numbers[0] == 1, "{numbers:?}");
        assert_eq!(take_ticket_keys(&mut queries[5]), Some(96), "{}", recording.name);
        assert_eq!(queries, expected_queries(), "{}", recording.name);
    }
}

#[test]
fn listening_repeats_the_query_with_the_real_port() {
    for recording in recordings::of_workers() {
        let listening = from_worker(&recording).into_iter().filter_map(|message| match message {
            WorkerMessage::Listening { query, .. } => Some(query),
            _ => None,
        });
        let mut listening: Vec<_> = listening.collect();
        assert_eq!(take_ticket_keys(&mut listening[4]), Some(96), "{}", recording.name);
        let mut expected = expected_queries();
        // The descriptor is not one to listen on.
        expected.remove(4);
        for (query, expected) in listening.iter_mut().zip(&expected) {
            if query.address_type != AddressType::Unix {
                assert!(std::mem::replace(&mut query.port, expected.port).unwrap() > 0);
            }
        }
        assert_eq!(listening, expected, "{}", recording.name);
    }
}

#[test]
fn a_connection_is_acknowledged_and_then_accepted() {
    for recording in recordings::of_workers() {
        let messages = from_worker(&recording);
        let reply = WorkerMessage::Reply { ack: 1, accepted: true };
        let at = messages.iter().position(|message| *message == reply).unwrap();
        assert_eq!(messages[at - 1], WorkerMessage::HandleAck, "{}", recording.name);
    }
}

#[test]
fn handles_of_the_program_are_read() {
    for recording in recordings::of_workers() {
        let handles = from_worker(&recording).into_iter().filter_map(|message| match message {
            WorkerMessage::Handle { kind, message } => Some((kind, message)),
            _ => None,
        });
        let there = |what: &str| object([("there", what.into())]);
        let expected = [
            (
                HandleKind::NetSocket { key: Some("4:127.0.0.1:0".to_owned()) },
                there("a connection"),
            ),
            (HandleKind::NetServer, there("a server")),
            (HandleKind::NetNative, there("a raw server")),
            (
                HandleKind::DgramSocket { dgram_type: Some("udp4".to_owned()) },
                there("a udp socket"),
            ),
        ];
        assert_eq!(handles.collect::<Vec<_>>(), expected, "{}", recording.name);
    }
}

#[test]
fn closed_listeners_are_named_by_their_key() {
    for recording in recordings::of_workers() {
        let closed = from_worker(&recording).into_iter().filter_map(|message| match message {
            WorkerMessage::Close { key, .. } => Some(key),
            _ => None,
        });
        let closed: Vec<_> = closed.collect();
        assert!(closed.iter().any(|key| key.contains(":udp4:-1")), "{closed:?}");
        assert_eq!(closed.len(), 6, "{}", recording.name);
    }
}

#[test]
fn questions_about_sockets_are_read() {
    let key = "4:127.0.0.1:0".to_owned();
    for recording in recordings::of_workers() {
        let question = WorkerMessage::Socket(SocketQuery::NotifyClose { key: key.clone() });
        assert!(from_worker(&recording).contains(&question), "{}", recording.name);
    }
    for recording in recordings::of_primaries() {
        let answer = PrimaryMessage::Socket(SocketAnswer::AllClosed { key: key.clone() });
        assert!(from_primary(&recording).contains(&answer), "{}", recording.name);
    }
}

/// Each side also answers the other's question, which is not among its own messages.
#[test]
fn nothing_else_is_unknown() {
    for recording in recordings::of_workers() {
        for message in from_worker(&recording) {
            if let WorkerMessage::Unknown { cmd } = message {
                assert_eq!(cmd, "NODE_SOCKET_ALL_CLOSED", "{}", recording.name);
            }
        }
    }
    for recording in recordings::of_primaries() {
        for message in from_primary(&recording) {
            if let PrimaryMessage::Unknown { cmd } = message {
                assert_eq!(cmd, "NODE_SOCKET_NOTIFY_CLOSE", "{}", recording.name);
            }
        }
    }
}

#[test]
fn a_primarys_replies_are_read() {
    for recording in recordings::of_primaries() {
        let replies = from_primary(&recording).into_iter().filter_map(|message| match message {
            PrimaryMessage::ServerReply { reply, .. } => Some(reply),
            _ => None,
        });
        let replies: Vec<_> = replies.collect();
        assert_eq!(replies.len(), 7, "{}", recording.name);
        check_tcp(&replies[0], "127.0.0.1", Family::IPv4);
        check_tcp(&replies[1], "::", Family::IPv6);
        check_tcp(&replies[2], "::1", Family::IPv6);
        assert_eq!((replies[3].errno, &replies[3].sockname), (0, &None));
        assert_eq!((replies[4].errno, &replies[4].handle), (-22, &None));
        assert!(replies[5].data.is_some());
        assert_eq!(replies[6].handle, Some(HandleKind::DgramNative));
        assert_eq!(replies[6].transport, Transport::Udp);
    }
}

fn check_tcp(reply: &ServerReply, address: &str, family: Family) {
    let name = reply.sockname.as_ref().unwrap();
    assert_eq!((name.address.as_str(), name.family), (address, family));
    assert!(name.port > 0);
    assert_eq!((reply.errno, &reply.handle, &reply.data), (0, &None, &None));
}

#[test]
fn a_primarys_orders_are_read() {
    for recording in recordings::of_primaries() {
        let messages = from_primary(&recording);
        let connections = messages.iter().filter(|message| {
            matches!(message, PrimaryMessage::NewConnection { seq: 1, key, transport: Transport::Tcp }
                if key.starts_with("127.0.0.1:0:4:"))
        });
        assert_eq!(connections.count(), 1, "{}", recording.name);
        let acks = messages.iter().filter(|message| matches!(message, PrimaryMessage::Ack { .. }));
        assert_eq!(acks.count(), 1, "{}", recording.name);
        let last = messages.last().unwrap();
        assert!(matches!(last, PrimaryMessage::Disconnect { seq: 9.. }), "{last:?}");
        assert!(messages.contains(&PrimaryMessage::HandleAck));
        let handle = |kind: &HandleKind| {
            messages.iter().any(|message| matches!(message, PrimaryMessage::Handle { kind: known, .. } if known == kind))
        };
        assert!(handle(&HandleKind::NetSocket { key: Some("4:127.0.0.1:0".to_owned()) }));
        assert_eq!(handle(&HandleKind::NetServer), recording.node > 18);
    }
}

#[test]
fn any_cut_into_two_gives_the_same_frames() {
    for recording in recordings::of_workers().into_iter().chain(recordings::of_primaries()) {
        let whole = recording.frames();
        for cut in 0..recording.bytes.len() {
            let (first, second) = recording.bytes.split_at(cut);
            assert!(
                recordings::frames(recording.dialect, &[first, second]) == whole,
                "{}, cut at {cut}",
                recording.name
            );
        }
    }
}

/// Values that are read with a loss or written in another form than that Node's:
/// half a surrogate pair, small arrays with holes, and errors, which change their
/// order with Node 22.
fn is_written_as_node_does(node: u32, value: &Value) -> bool {
    match value.get("value") {
        Some(Value::SparseArray(array)) => array.length > 5000,
        Some(Value::Error(_)) => node >= 22,
        _ => value.as_str() != Some("half: \u{fffd}"),
    }
}

#[test]
fn messages_of_the_program_are_written_to_the_byte_as_node_does() {
    for recording in recordings::of_workers() {
        for frame in recording.frames() {
            let message = WorkerMessage::parse(recording.dialect, &frame).unwrap();
            let WorkerMessage::User(value) = &message else { continue };
            if is_written_as_node_does(recording.node, value) {
                assert_eq!(encoded(recording.dialect, &message), frame, "{value:?}");
            }
        }
    }
}

fn encoded(dialect: Dialect, message: &WorkerMessage) -> Vec<u8> {
    let mut out = Vec::new();
    message.encode(dialect, &mut out).unwrap();
    recordings::frames(dialect, &[&out]).remove(0)
}

#[test]
fn what_was_read_is_read_again_when_written() {
    for recording in recordings::of_workers() {
        for message in from_worker(&recording) {
            if !matches!(message, WorkerMessage::Unknown { .. }) {
                let again =
                    WorkerMessage::parse(recording.dialect, &encoded(recording.dialect, &message));
                assert_eq!(format!("{:?}", again.unwrap()), format!("{message:?}"));
            }
        }
    }
}

#[test]
fn what_a_primary_said_is_read_again_when_written() {
    for recording in recordings::of_primaries() {
        for message in from_primary(&recording) {
            if matches!(message, PrimaryMessage::Unknown { .. }) {
                continue;
            }
            let mut out = Vec::new();
            message.encode(recording.dialect, &mut out).unwrap();
            let frame = recordings::frames(recording.dialect, &[&out]).remove(0);
            let again = PrimaryMessage::parse(recording.dialect, &frame).unwrap();
            assert_eq!(format!("{again:?}"), format!("{message:?}"));
        }
    }
}
