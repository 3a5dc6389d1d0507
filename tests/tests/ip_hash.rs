//! The policy `ip-hash`: a client's address decides which slot serves it, whoever deals.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use forkyard_tests::{DEADLINE, Launch, Node};
use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
use serde_json::Value;

/// Clients, all of them on this machine.
const CLIENTS: u8 = 12;

/// One client, by its address.
#[derive(Clone, Copy, Debug)]
struct Client {
    address: Ipv4Addr,
    server: SocketAddr,
}

fn clients(port: u16) -> Vec<Client> {
    let server = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    (1..=CLIENTS).map(|last| Client { address: Ipv4Addr::new(127, 0, 7, last), server }).collect()
}

impl Client {
    /// Asks on a connection of its own and gives the answer, head and all.
    fn ask(self, method: &str, path: &str, body: &str) -> String {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
        bind(&socket, &SocketAddr::from((self.address, 0))).expect("an address of this machine");
        connect(&socket, &self.server).expect("a connection");
        let mut stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(DEADLINE)).expect("a time-out");
        let length = body.len();
        let head = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n");
        let request = format!("{head}content-length: {length}\r\n\r\n{body}");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200"), "{self:?} {path}: {answer}");
        answer
    }

    fn ask_json(self, path: &str) -> Value {
        let answer = self.ask("GET", path, "");
        let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
        // It may come in chunks.
        let json = &body[body.find('{').expect("JSON")..=body.rfind('}').expect("JSON")];
        serde_json::from_str(json).expect("JSON")
    }

    /// The slot that serves it.
    fn slot(self) -> String {
        self.ask_json("/x")["slot"].as_str().expect("a slot").to_owned()
    }
}

/// Dealt by the kernel where that is permitted, and by the primary.
fn by_kernel_and_by_primary(launch: impl Fn() -> Launch) -> [Launch; 2] {
    let gone = "-bpf,-sys_admin";
    let without_bpf = ["setpriv", "--bounding-set", gone, "--inh-caps", gone];
    // Only root has something to lose.
    let wrapper: &[&str] = if rustix::process::geteuid().is_root() { &without_bpf } else { &[] };
    let ip_hash = || launch().workers(4).option("--policy", "ip-hash");
    [ip_hash(), ip_hash().wrapped(wrapper)]
}

#[test]
fn a_client_stays_with_its_slot_through_a_reload() {
    for launch in by_kernel_and_by_primary(|| Launch::run("release.js").node(Node::V24)) {
        let forkyard = launch.start();
        forkyard.wait_listening(4);
        assert_eq!(forkyard.wait("listener_bound").text("policy"), "ip-hash");
        let clients = clients(forkyard.port());
        let slots = || clients.iter().map(|client| client.slot()).collect::<Vec<_>>();
        let before = slots();
        assert_eq!(slots(), before);
        let mut served = before.clone();
        served.sort_unstable();
        served.dedup();
        assert!(served.len() > 1, "{before:?}");
        forkyard.reload_through(1);
        forkyard.wait_count("worker_exited", 4);
        assert_eq!(slots(), before);
        forkyard.stop().assert_code(0);
    }
}

/// What Socket.IO does without WebSockets: sessions in the memory of one worker, and a new
/// connection for each request.
#[test]
fn long_polling_finds_its_session() {
    for launch in by_kernel_and_by_primary(|| Launch::run("long-polling.js").node(Node::V24)) {
        let forkyard = launch.start();
        forkyard.wait_listening(4);
        for client in clients(forkyard.port()) {
            let opened = client.ask_json("/");
            let path = format!("/?sid={}", opened["sid"].as_str().expect("a sid"));
            for n in 0..5 {
                let message = format!("message {n}");
                client.ask("POST", &path, &message);
                let got = client.ask("GET", &path, "");
                assert!(got.contains(&message), "{got}");
            }
        }
        forkyard.stop().assert_code(0);
    }
}
