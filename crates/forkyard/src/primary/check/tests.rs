//! Workers that answer well, badly and not at all. Time is paused: only what waits for it
//! lets it pass.

use std::future::Future;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;

fn settings() -> CheckSettings {
    CheckSettings::get("/healthz").unwrap()
}

async fn ask_over<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    transport: Transport,
) -> Result<(), CheckError> {
    check(stream, &settings(), transport).await
}

/// Asks a worker that reads the request and then does this with the connection.
async fn ask_worker<F>(answer: impl FnOnce(DuplexStream) -> F) -> Result<(), CheckError>
where
    F: Future<Output = ()> + Send + 'static,
{
    let (ours, mut theirs) = duplex(1024 * 1024);
    let checking = ask_over(ours, Transport::Plain);
    let answering = async {
        read_request(&mut theirs).await;
        tokio::spawn(answer(theirs));
    };
    tokio::join!(checking, answering).0
}

/// Asks a worker that writes this and closes the connection.
async fn ask_who_says(text: impl AsRef<[u8]>) -> Result<(), CheckError> {
    let text = text.as_ref().to_owned();
    ask_worker(|mut stream| async move {
        // The other side may have had enough.
        let _ = stream.write_all(&text).await;
    })
    .await
}

async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(request).unwrap()
}

fn message(result: Result<(), CheckError>) -> String {
    result.unwrap_err().to_string()
}

#[tokio::test]
async fn the_request_is_an_ordinary_one() {
    let (ours, mut theirs) = duplex(1024);
    let settings = CheckSettings::get("/health?deep=1").unwrap().host("example.org:80").unwrap();
    let answering = async {
        let request = read_request(&mut theirs).await;
        theirs.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
        request
    };
    let (checked, request) = tokio::join!(check(ours, &settings, Transport::Plain), answering);
    checked.unwrap();
    let mut lines = request.lines();
    assert_eq!(lines.next(), Some("GET /health?deep=1 HTTP/1.1"));
    for line in ["host: example.org:80", "connection: close"] {
        assert!(request.to_lowercase().lines().any(|found| found == line), "{request}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_healthy() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\nto the end of the connection",
        "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    ] {
        ask_who_says(answer).await.unwrap_or_else(|error| panic!("{answer:?}: {error}"));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_names_its_status_and_how_its_body_begins() {
    let message = message(
        ask_who_says("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 9\r\n\r\nno db\x1b[2m")
            .await,
    );
    assert_eq!(
        message,
        "get a healthy answer to GET /healthz: it was 500 Internal Server Error, \
         \"no db\\u{1b}[2m\"; 200 to 399 is healthy"
    );
    for status in ["199 Odd", "400 Bad Request", "404 Not Found", "503 Later", "600 Beyond"] {
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        let error = ask_who_says(&answer).await.unwrap_err();
        assert!(!matches!(error, CheckError::TimedOut { .. }), "{status}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_body_is_shown_in_part() {
    let answer = format!("HTTP/1.1 500 No\r\nContent-Length: 90000\r\n\r\n{}", "é".repeat(45000));
    let message = message(ask_who_says(answer).await);
    assert!(message.len() < 2 * EXCERPT + 100, "{message}");
}

#[tokio::test(start_paused = true)]
async fn a_status_counts_though_its_body_gets_stuck() {
    let result = ask_worker(|mut stream| async move {
        stream.write_all(b"HTTP/1.1 500 No\r\nContent-Length: 9\r\n\r\nwait").await.unwrap();
        std::future::pending::<()>().await;
    });
    assert!(message(result.await).contains("it was 500"), "the status was there");
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_hangs_is_waited_for_until_the_time_out() {
    let before = tokio::time::Instant::now();
    let (ours, _theirs) = duplex(1024);
    let settings = settings().timeout(Duration::from_secs(90));
    let message = message(check(ours, &settings, Transport::Plain).await);
    assert!(message.contains("none came within 90s"), "{message}");
    assert_eq!(before.elapsed().as_secs(), 90);
}

/// Each byte comes in good time, but not all of them.
#[tokio::test(start_paused = true)]
async fn a_slow_drip_does_not_prolong_the_time() {
    for (answer, awaited) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "none came"),
        ("HTTP/1.1 200 OK\r\n\r\nand so on", "none came"),
    ] {
        let result = ask_worker(move |stream| drip(stream, "", answer));
        let message = message(result.await);
        assert!(message.contains(awaited), "{message}");
    }
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n";
    let message =
        message(ask_worker(move |stream| drip(stream, head, "as slow as it can be")).await);
    assert!(message.contains("it did not come to its end within 5s"), "{message}");
}

async fn drip(mut stream: DuplexStream, at_once: &str, slowly: &str) {
    stream.write_all(at_once.as_bytes()).await.unwrap();
    for byte in slowly.bytes() {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if stream.write_all(&[byte]).await.is_err() {
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_answer_is_said_to_be_none() {
    for answer in [
        &b""[..],
        b"HTTP/1.1 200",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nearly",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x15\x03\x03\x00\x02\x02\x46",
        b"\0\0\0\0\0\0\0\0\0\0\0\0\r\n\r\n",
    ] {
        let error = ask_who_says(answer).await.unwrap_err();
        assert!(matches!(error, CheckError::Broken { .. }), "{answer:?}: {error}");
        assert!(error.to_string().contains("in HTTP/1"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_without_end_is_given_up() {
    let answer = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(2 * LONGEST_HEAD));
    let message = message(ask_who_says(answer).await);
    assert!(message.contains("head is too large"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn a_body_without_end_is_enough() {
    let result = ask_worker(|mut stream| async move {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
    });
    result.await.unwrap();
}

#[tokio::test]
async fn both_kinds_of_sockets_are_asked() {
    use forkyard_sys::sockets::{SocketKind, private_pair};
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let tcp = private_pair(SocketKind::Tcp).unwrap();
    let [ours, mut theirs] =
        [tcp.client, tcp.server].map(|end| tokio::net::TcpStream::from_std(end.into()).unwrap());
    let answering = async {
        read_request(&mut theirs).await;
        theirs.write_all(answer).await.unwrap();
    };
    tokio::join!(ask_over(ours, Transport::Plain), answering).0.unwrap();

    let unix = private_pair(SocketKind::UnixStream).unwrap();
    let [ours, mut theirs] =
        [unix.client, unix.server].map(|end| tokio::net::UnixStream::from_std(end.into()).unwrap());
    let answering = async {
        read_request(&mut theirs).await;
        theirs.write_all(answer).await.unwrap();
    };
    tokio::join!(ask_over(ours, Transport::Plain), answering).0.unwrap();
}

#[test]
fn a_path_begins_with_a_slash_and_a_host_is_one_word() {
    for path in ["", "healthz", "http://example.org/", "*", "/a b", "/a\r\nX: y"] {
        let error = CheckSettings::get(path).unwrap_err();
        assert!(error.to_string().contains("/healthz"), "{error}");
    }
    for host in ["", "a b", "a\r\nX: y", "a/b"] {
        assert!(settings().host(host).is_err(), "{host:?}");
    }
    for host in ["localhost", "example.org:8443", "[::1]:80", "127.0.0.1"] {
        assert!(settings().host(host).is_ok(), "{host:?}");
    }
}

#[cfg(not(feature = "tls-check"))]
#[tokio::test]
async fn a_build_that_does_not_speak_tls_says_so() {
    let (ours, _theirs) = duplex(1024);
    let message = message(ask_over(ours, Transport::Tls).await);
    assert!(message.contains("feature tls-check"), "{message}");
}

#[cfg(feature = "tls-check")]
mod over_tls {
    use std::sync::Arc;

    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::rustls::ServerConfig;
    use tokio_rustls::rustls::crypto::ring;
    use tokio_rustls::rustls::pki_types::PrivateKeyDer;

    use super::*;

    /// With a certificate for nobody.
    fn acceptor() -> TlsAcceptor {
        let own = rcgen::generate_simple_self_signed(["nobody.invalid".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![own.cert.der().clone()], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }

    #[tokio::test]
    async fn any_certificate_will_do() {
        let (ours, theirs) = duplex(1024 * 1024);
        let answering = async {
            let mut stream = acceptor().accept(theirs).await.unwrap();
            read_request(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
            stream.shutdown().await.unwrap();
        };
        tokio::join!(ask_over(ours, Transport::Tls), answering).0.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_speak_it_is_not_healthy() {
        let (ours, mut theirs) = duplex(1024);
        let answering = async { theirs.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await };
        let (checked, _) = tokio::join!(ask_over(ours, Transport::Tls), answering);
        let error = checked.unwrap_err();
        assert!(matches!(error, CheckError::Tls { .. }), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_hangs_in_it_is_not_healthy() {
        let (ours, _theirs) = duplex(1024 * 1024);
        let message = message(ask_over(ours, Transport::Tls).await);
        assert!(message.contains("TLS was not agreed on within 5s"), "{message}");
    }
}
