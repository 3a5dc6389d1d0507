//! What holds for every message and for any bytes at all.

use std::time::Duration;

use forkyard_ipc::{
    AddressType, AgentOrder, AgentReport, ArrayBuffer, BigInt, Bytes, Decoder, Dialect, ErrorKind,
    ErrorValue, Family, HandleKind, PrimaryMessage, RegExp, ServerQuery, ServerReply, SockName,
    SocketAnswer, SocketQuery, SparseArray, Transport, Value, View, ViewKind, WorkerMessage,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::recordings;

/// Integers that a JavaScript number holds exactly.
fn exact() -> impl Strategy<Value = i64> {
    -(1_i64 << 53) + 1..1 << 53
}

fn seq() -> impl Strategy<Value = u64> {
    0..1_u64 << 53
}

fn dialect() -> impl Strategy<Value = Dialect> {
    select(vec![Dialect::Json, Dialect::Advanced])
}

/// Not `cmd`: a message that says `NODE_…` there is not the program's.
fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z]{0,6}".prop_filter("reserved", |name| name != "cmd"), "[0-9]{1,3}", "\\PC{4}"]
}

fn number() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<i32>().prop_map(Value::from),
        proptest::num::f64::NORMAL.prop_map(Value::from),
    ]
}

fn json_leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        number(),
        any::<String>().prop_map(Value::from),
        "[\\x00-\\xff]{0,8}".prop_map(Value::from),
    ]
}

fn json_value() -> impl Strategy<Value = Value> {
    json_leaf().prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::Array),
            vec((name(), inner), 0..5).prop_map(Value::Object),
        ]
    })
}

fn bigint() -> impl Strategy<Value = BigInt> {
    (any::<bool>(), vec(any::<u8>(), 0..20))
        .prop_map(|(negative, bytes)| BigInt::new(negative, bytes))
}

fn bytes() -> impl Strategy<Value = Value> {
    let kind = select(ViewKind::ALL.to_vec());
    (kind, vec(any::<u8>(), 0..4)).prop_map(|(kind, few)| {
        let bytes = few.repeat(kind.element_bytes() as usize);
        Bytes { kind, bytes }.into()
    })
}

fn array_buffer() -> impl Strategy<Value = Value> {
    (vec(any::<u8>(), 0..20), option::of(20_u32..100))
        .prop_map(|(bytes, max_length)| ArrayBuffer { bytes, max_length }.into())
}

fn view() -> impl Strategy<Value = Value> {
    let kind =
        select(ViewKind::ALL.to_vec()).prop_filter("not V8's", |kind| *kind != ViewKind::Buffer);
    (kind, array_buffer(), 0_u32..2).prop_map(|(kind, buffer, offset)| {
        let present = match &buffer {
            Value::ArrayBuffer(buffer) => u32::try_from(buffer.bytes.len()).unwrap(),
            _ => 0,
        };
        let element = kind.element_bytes();
        let offset = (offset * element).min(present / element * element);
        let length = (present - offset) / element * element;
        Value::View(Box::new(View { kind, buffer, offset, length, flags: 0 }))
    })
}

fn error(cause: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    let kind = select(vec![ErrorKind::Error, ErrorKind::RangeError, ErrorKind::UriError]);
    (kind, option::of(any::<String>()), option::of("[a-z]*"), option::of(cause))
        .prop_map(|(kind, message, stack, cause)| ErrorValue { kind, message, stack, cause }.into())
}

fn boxed() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<bool>().prop_map(Value::from),
        number(),
        bigint().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ]
    .prop_map(|inner| Value::Boxed(Box::new(inner)))
}

fn sparse_array(inner: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    (any::<u32>(), vec((name(), inner), 0..4))
        .prop_map(|(length, entries)| SparseArray { length, entries }.into())
}

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => json_leaf(),
        1 => Just(Value::Undefined),
        1 => bigint().prop_map(Value::from),
        1 => proptest::num::f64::NORMAL.prop_map(Value::Date),
        1 => ("[a-z/]*", 0_u32..512).prop_map(|(source, flags)| RegExp { source, flags }.into()),
        1 => bytes(),
        1 => array_buffer(),
        1 => view(),
        1 => boxed(),
    ]
}

/// Anything the advanced dialect can carry, references included.
fn advanced_value() -> impl Strategy<Value = Value> {
    let tree = leaf().prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Value::Array),
            vec((name(), inner.clone()), 0..5).prop_map(Value::Object),
            vec((inner.clone(), inner.clone()), 0..4).prop_map(Value::Map),
            vec(inner.clone(), 0..4).prop_map(Value::Set),
            sparse_array(inner.clone()),
            error(inner.clone()),
            inner.prop_map(|inner| Value::Copied(Box::new(inner))),
        ]
    });
    (tree, any::<bool>()).prop_map(|(tree, refer)| if refer { referring(tree) } else { tree })
}

/// A value that refers to its first object, and to an object behind all of `tree`.
fn referring(tree: Value) -> Value {
    let behind = 1 + objects(&tree);
    let last = Value::Array(vec![]);
    Value::Array(vec![tree, last, Value::Reference(0), Value::Reference(behind)])
}

/// How many objects V8 counts.
fn objects(value: &Value) -> u32 {
    let inner: u32 = match value {
        Value::Array(elements) | Value::Set(elements) => elements.iter().map(objects).sum(),
        Value::Object(entries) => entries.iter().map(|(_, value)| objects(value)).sum(),
        Value::SparseArray(array) => array.entries.iter().map(|(_, value)| objects(value)).sum(),
        Value::Map(entries) => {
            entries.iter().map(|(key, value)| objects(key) + objects(value)).sum()
        }
        Value::Error(error) => error.cause.iter().map(objects).sum(),
        Value::Copied(inner) => objects(inner),
        Value::View(view) => objects(&view.buffer),
        _ => 0,
    };
    inner + u32::from(value.is_object())
}

fn value(dialect: Dialect) -> BoxedStrategy<Value> {
    match dialect {
        Dialect::Json => json_value().boxed(),
        Dialect::Advanced => advanced_value().boxed(),
    }
}

fn kind() -> impl Strategy<Value = HandleKind> {
    prop_oneof![
        Just(HandleKind::NetNative),
        Just(HandleKind::NetServer),
        option::of("[0-9:]*").prop_map(|key| HandleKind::NetSocket { key }),
        Just(HandleKind::DgramNative),
        option::of("udp[46]").prop_map(|dgram_type| HandleKind::DgramSocket { dgram_type }),
        Just(HandleKind::BoundSocket),
        "x[a-z]*".prop_map(HandleKind::Other),
    ]
}

fn data(dialect: Dialect) -> impl Strategy<Value = Option<Value>> {
    option::of(value(dialect).prop_filter("nothing", |value| !value.is_nullish()))
}

fn address_type() -> impl Strategy<Value = AddressType> {
    use AddressType::{Descriptor, Tcp4, Tcp6, Udp4, Udp6, Unix};
    select(vec![Tcp4, Tcp6, Unix, Udp4, Udp6, Descriptor])
}

fn query(dialect: Dialect) -> impl Strategy<Value = ServerQuery> {
    let place =
        (option::of(any::<String>()), option::of(exact()), address_type(), option::of(exact()));
    let backlog = option::of(exact().prop_filter("none given", |backlog| *backlog != 0));
    let options = (seq(), any::<u32>(), backlog, any::<bool>(), any::<bool>(), data(dialect));
    (place, options).prop_map(|((address, port, address_type, fd), options)| {
        let (index, flags, backlog, readable_all, writable_all, data) = options;
        ServerQuery {
            index,
            address,
            port,
            address_type,
            fd,
            flags,
            backlog,
            readable_all,
            writable_all,
            data,
        }
    })
}

fn worker_message(dialect: Dialect) -> impl Strategy<Value = WorkerMessage> {
    use WorkerMessage as M;
    prop_oneof![
        Just(M::HandleAck),
        Just(M::HandleNack),
        seq().prop_map(|seq| M::Online { seq }),
        (seq(), query(dialect)).prop_map(|(seq, query)| M::QueryServer { seq, query }),
        (seq(), query(dialect)).prop_map(|(seq, query)| M::Listening { seq, query }),
        (seq(), any::<String>()).prop_map(|(seq, key)| M::Close { seq, key }),
        seq().prop_map(|seq| M::ExitedAfterDisconnect { seq }),
        (seq(), any::<bool>()).prop_map(|(ack, accepted)| M::Reply { ack, accepted }),
        any::<String>().prop_map(|key| M::Socket(SocketQuery::NotifyClose { key })),
        any::<String>().prop_map(|key| M::Socket(SocketQuery::GetCount { key })),
        seq().prop_map(|version| M::Agent(AgentReport::Loaded { version })),
        (kind(), value(dialect)).prop_map(|(kind, message)| M::Handle { kind, message }),
        value(dialect).prop_map(M::User),
    ]
}

fn sockname() -> impl Strategy<Value = SockName> {
    let family = select(vec![Family::IPv4, Family::IPv6]);
    ("[0-9a-f.:]*", family, any::<u16>()).prop_map(|(address, family, port)| SockName {
        address,
        family,
        port,
    })
}

fn reply(dialect: Dialect) -> impl Strategy<Value = ServerReply> {
    let transport = select(vec![Transport::Tcp, Transport::Pipe]);
    let stream = Just(Some(HandleKind::NetNative));
    let how = prop_oneof![
        Just((None, Transport::Tcp)),
        (stream, transport),
        Just((Some(HandleKind::DgramNative), Transport::Udp)),
    ];
    (any::<i32>(), any::<String>(), data(dialect), option::of(sockname()), how).prop_map(
        |(errno, key, data, sockname, (handle, transport))| ServerReply {
            errno,
            key,
            data,
            sockname,
            handle,
            transport,
        },
    )
}

fn primary_message(dialect: Dialect) -> impl Strategy<Value = PrimaryMessage> {
    use PrimaryMessage as M;
    let transport = select(vec![Transport::Tcp, Transport::Pipe]);
    prop_oneof![
        Just(M::HandleAck),
        Just(M::HandleNack),
        (seq(), seq(), reply(dialect)).prop_map(|(ack, seq, reply)| M::ServerReply {
            ack,
            seq,
            reply
        }),
        (seq(), any::<String>(), transport).prop_map(|(seq, key, transport)| M::NewConnection {
            seq,
            key,
            transport
        }),
        seq().prop_map(|seq| M::Disconnect { seq }),
        (seq(), seq()).prop_map(|(ack, seq)| M::Ack { ack, seq }),
        any::<String>().prop_map(|key| M::Socket(SocketAnswer::AllClosed { key })),
        (any::<String>(), seq())
            .prop_map(|(key, count)| M::Socket(SocketAnswer::Count { key, count })),
        (seq(), vec(any::<String>(), 0..3)).prop_map(|(grace_ms, tell)| {
            M::Agent(AgentOrder::Drain { grace: Duration::from_millis(grace_ms), tell })
        }),
        (kind(), value(dialect)).prop_map(|(kind, message)| M::Handle { kind, message }),
        value(dialect).prop_map(M::User),
    ]
}

fn with_dialect<S: Strategy>(
    of: impl Fn(Dialect) -> S + Clone,
) -> impl Strategy<Value = (Dialect, S::Value)> {
    dialect().prop_flat_map(move |dialect| (Just(dialect), of(dialect)))
}

/// A frame that some Node process wrote.
fn recorded_frame() -> impl Strategy<Value = (Dialect, Vec<u8>)> {
    let all: Vec<_> = recordings::of_workers()
        .into_iter()
        .chain(recordings::of_primaries())
        .flat_map(|recording| {
            recording.frames().into_iter().map(move |frame| (recording.dialect, frame))
        })
        .collect();
    select(all)
}

/// Neither direction panics; whatever is read can be written, or is refused.
fn parse_both(dialect: Dialect, frame: &[u8]) {
    let mut out = Vec::new();
    if let Ok(message) = WorkerMessage::parse(dialect, frame) {
        let _ = message.encode(dialect, &mut out);
        let _ = message.encode(Dialect::Json, &mut out);
    }
    if let Ok(message) = PrimaryMessage::parse(dialect, frame) {
        let _ = message.encode(dialect, &mut out);
    }
}

fn only_frame(dialect: Dialect, bytes: &[u8]) -> Vec<u8> {
    let mut frames = recordings::frames(dialect, &[bytes]);
    assert_eq!(frames.len(), 1);
    frames.remove(0)
}

proptest! {
    #[test]
    fn a_workers_message_comes_back((dialect, message) in with_dialect(worker_message)) {
        let mut out = Vec::new();
        message.encode(dialect, &mut out).unwrap();
        let again = WorkerMessage::parse(dialect, &only_frame(dialect, &out)).unwrap();
        prop_assert_eq!(again.needs_handle(), message.needs_handle());
        prop_assert_eq!(again, message);
    }

    #[test]
    fn a_primarys_message_comes_back((dialect, message) in with_dialect(primary_message)) {
        let mut out = Vec::new();
        message.encode(dialect, &mut out).unwrap();
        let again = PrimaryMessage::parse(dialect, &only_frame(dialect, &out)).unwrap();
        prop_assert_eq!(again.needs_handle(), message.needs_handle());
        prop_assert_eq!(again, message);
    }

    #[test]
    fn whatever_can_be_sent_can_be_shown_as_json(value in advanced_value()) {
        value.to_json();
    }

    #[test]
    fn json_survives_the_way_through_a_value(value in json_value()) {
        let json = value.to_json();
        prop_assert_eq!(Value::from(json.clone()).to_json(), json);
    }

    #[test]
    fn any_bytes_are_survived(dialect in dialect(), bytes in vec(any::<u8>(), 0..200)) {
        parse_both(dialect, &bytes);
    }

    #[test]
    fn any_bytes_behind_a_header_are_survived(bytes in vec(any::<u8>(), 0..200)) {
        parse_both(Dialect::Advanced, &[&[0xff, 0x0f], &bytes[..]].concat());
    }

    #[test]
    fn any_stream_is_survived(dialect in dialect(), bytes in vec(any::<u8>(), 0..2000), step in 1_usize..100) {
        let mut decoder = Decoder::new(dialect, 64);
        for piece in bytes.chunks(step) {
            decoder.feed(piece);
            while let Some(frame) = decoder.next_frame() {
                if let Ok(frame) = frame {
                    prop_assert!(frame.len() <= 64);
                    parse_both(dialect, frame);
                }
            }
            prop_assert!(decoder.unfinished() <= bytes.len());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn a_changed_frame_is_survived(
        (dialect, frame) in recorded_frame(),
        changes in vec((any::<Index>(), any::<u8>()), 1..4),
        cut in option::of(any::<Index>()),
    ) {
        let mut frame = frame;
        for (at, byte) in changes {
            if !frame.is_empty() {
                let at = at.index(frame.len());
                frame[at] = byte;
            }
        }
        if let Some(cut) = cut {
            frame.truncate(cut.index(frame.len() + 1));
        }
        parse_both(dialect, &frame);
    }
}
