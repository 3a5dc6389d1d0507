//! A stream of bytes to a server, whatever it is made of.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::client::{Failure, Target};

/// A stream of bytes in both directions.
pub(crate) trait Duplex: Read + Write + Send {}
impl<T: Read + Write + Send> Duplex for T {}

/// A connected stream.
pub(crate) struct Transport {
    pub(crate) stream: Box<dyn Duplex>,
    /// The client's port; 0 on Unix sockets.
    pub(crate) local_port: u16,
}

impl Transport {
    /// Connects; no read or write on it takes longer than `patience`.
    pub(crate) fn open(target: &Target, patience: Duration) -> Result<Self, Failure> {
        match target {
            Target::Tcp(address) => {
                let (stream, local_port) = connect(address, patience)?;
                Ok(Self { stream: Box::new(stream), local_port })
            }
            Target::Tls { address, trust } => {
                let (stream, local_port) = connect(address, patience)?;
                Ok(Self { stream: Box::new(trust.wrap(stream)?), local_port })
            }
            Target::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(patience))?;
                stream.set_write_timeout(Some(patience))?;
                Ok(Self { stream: Box::new(stream), local_port: 0 })
            }
        }
    }
}

fn connect(
    address: &std::net::SocketAddr,
    patience: Duration,
) -> Result<(TcpStream, u16), Failure> {
    let stream = TcpStream::connect_timeout(address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    stream.set_nodelay(true)?;
    let port = stream.local_addr()?.port();
    Ok((stream, port))
}
