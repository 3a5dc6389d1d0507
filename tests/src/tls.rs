//! TLS for tests: an identity that a server shows, and clients that trust no other.

use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tempfile::TempDir;

use crate::Launch;
use crate::client::{Failure, Target};

/// The name in the certificate.
const NAME: &str = "localhost";

/// What openssl is to write into a certificate of a server.
const EXTENSIONS: &str = "\
[req]
distinguished_name = name
x509_extensions = server
prompt = no
[name]
CN = localhost
[server]
basicConstraints = critical, CA:FALSE
subjectAltName = DNS:localhost
";

/// A key and a certificate, made for one test.
#[derive(Debug)]
pub struct Identity {
    folder: TempDir,
}

/// What a client needs to know of the server's identity.
#[derive(Clone, Debug)]
pub struct Trust(Arc<ClientConfig>);

impl Identity {
    /// Makes one.
    ///
    /// # Panics
    ///
    /// When openssl does not.
    #[must_use]
    pub fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        std::fs::write(folder.path().join("openssl.cnf"), EXTENSIONS).expect("a file");
        let mut openssl = Command::new("openssl");
        openssl.current_dir(folder.path()).args(["req", "-x509", "-nodes", "-days", "2"]);
        openssl.args(["-config", "openssl.cnf"]);
        openssl.args(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
        openssl.args(["-keyout", "key.pem", "-out", "cert.pem"]);
        let output = openssl.output().expect("openssl starts");
        assert!(output.status.success(), "{output:?}");
        Self { folder }
    }

    /// Where the program finds it: in `TLS_KEY` and `TLS_CERT`.
    #[must_use]
    pub fn given_to(&self, launch: Launch) -> Launch {
        launch
            .worker_env("TLS_KEY", self.file("key.pem"))
            .worker_env("TLS_CERT", self.certificate())
    }

    /// A server on this port of 127.0.0.1 that has to show this identity.
    #[must_use]
    pub fn target(&self, port: u16) -> Target {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        Target::Tls { address, trust: self.trust() }
    }

    fn trust(&self) -> Trust {
        let certificate = CertificateDer::from_pem_file(self.certificate()).expect("a certificate");
        let mut roots = RootCertStore::empty();
        roots.add(certificate).expect("a certificate that can be trusted");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = versions.expect("versions of TLS").with_root_certificates(roots);
        Trust(Arc::new(config.with_no_client_auth()))
    }

    fn certificate(&self) -> PathBuf {
        self.file("cert.pem")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Default for Identity {
    fn default() -> Self {
        Self::new()
    }
}

impl Trust {
    /// The stream behind TLS. The handshake comes with the first byte.
    pub(crate) fn wrap(
        &self,
        stream: TcpStream,
    ) -> Result<StreamOwned<ClientConnection, TcpStream>, Failure> {
        let connection = ClientConnection::new(Arc::clone(&self.0), server_name());
        let connection = connection.map_err(|error| Failure::Other(error.to_string()))?;
        Ok(StreamOwned::new(connection, stream))
    }

    /// The same for a client that speaks HTTP/2 and nothing else.
    pub(crate) fn connector_for_http2(&self) -> tokio_rustls::TlsConnector {
        let mut config = (*self.0).clone();
        config.alpn_protocols = vec![b"h2".to_vec()];
        Arc::new(config).into()
    }
}

/// The name that the server has to prove to be.
pub(crate) fn server_name() -> ServerName<'static> {
    ServerName::try_from(NAME).expect("invariant: it is a name")
}
