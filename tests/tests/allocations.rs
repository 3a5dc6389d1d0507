//! A connection that the primary hands over costs no memory, once the first ones have been: counted
//! over all threads of this process, which is the primary's.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

use std::alloc::System;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use forkyard::{Cluster, Event, Policy, Program, Stage};
use forkyard_tests::watching::event;
use forkyard_tests::{DEADLINE, Node, tools};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// How many connections are counted.
const COUNTED: usize = 1000;

/// So many allocations among these are no steady flow: a table that grew, a timer.
const FEW: usize = COUNTED / 20;

/// One connection after the other, each with an echo. Allocates nothing itself.
fn connect(address: SocketAddr, count: usize) {
    for _ in 0..count {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.write_all(b"hello\n").unwrap();
        let mut echo = [0; 64];
        assert!(stream.read(&mut echo).unwrap() > 0);
    }
}

fn allocations() -> usize {
    let stats = ALLOCATOR.stats();
    stats.allocations + stats.reallocations
}

#[tokio::test]
async fn a_connection_costs_no_allocation() {
    let program = Program::new(Node::V20.binary()).arg(tools::program("sticky-sockets.js"));
    let builder = Cluster::builder().program(program).policy(Policy::RoundRobin);
    let mut cluster = builder.start().unwrap();
    for _ in 0..2 {
        cluster.fork().await.unwrap();
    }
    let bound = |event| match event {
        Event::Bound(listener) => Some(listener.address.parse().unwrap()),
        _ => None,
    };
    let address = event(&mut cluster, bound).await;
    connect(address, COUNTED);
    let before = allocations();
    connect(address, COUNTED);
    let made = allocations() - before;
    assert!(made <= FEW, "{made} allocations for {COUNTED} connections");
    cluster.stop(Stage::Disconnect).await.unwrap();
    event(&mut cluster, |event| matches!(event, Event::Over(_)).then_some(())).await;
}
