//! One request and its answer.

use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout};

use super::error::{denied, nonsense};
use super::find::{BETWEEN_IMAGES, connect};
use super::{ClientError, Found};

/// The longest answer that is read as a whole, in bytes.
const LONGEST_ANSWER: usize = 1024 * 1024;
/// How long a primary may take to begin its answer, and to end one that takes no time.
const ANSWERING: Duration = Duration::from_secs(15);

/// What is asked for.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    method: Method,
    path: &'static str,
    body: Bytes,
}

impl Ask {
    pub(super) fn get(path: &'static str) -> Self {
        Self { method: Method::GET, path, body: Bytes::new() }
    }

    pub(super) fn post(path: &'static str) -> Self {
        Self { method: Method::POST, path, body: Bytes::new() }
    }

    /// Writing one of our own types cannot fail.
    pub(super) fn with(self, body: &impl Serialize) -> Self {
        let body = serde_json::to_vec(body).unwrap_or_default().into();
        Self { body, ..self }
    }

    /// The answer from its beginning.
    pub(super) async fn of(&self, primary: &Found) -> Result<Response<Incoming>, ClientError> {
        let silent = |_| ClientError::Silent { pid: primary.pid };
        let answer = timeout(ANSWERING, self.exchange(primary)).await.map_err(silent)??;
        match answer.status() {
            status if status.is_success() => Ok(answer),
            status => Err(denied(primary, status, &whole(answer).await?)),
        }
    }

    /// The whole answer.
    pub(super) async fn reply<T: DeserializeOwned>(
        &self,
        primary: &Found,
    ) -> Result<T, ClientError> {
        let body = whole(self.of(primary).await?).await?;
        serde_json::from_slice(&body).map_err(nonsense)
    }

    async fn exchange(&self, primary: &Found) -> Result<Response<Incoming>, ClientError> {
        let Found { pid, path, .. } = primary;
        let stream = connect(path, *pid, Instant::now() + BETWEEN_IMAGES)
            .await
            .map_err(|source| ClientError::Connect { path: path.clone(), source })?;
        let gone = |_: hyper::Error| ClientError::Ended { pid: *pid };
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(gone)?;
        tokio::spawn(connection);
        sender.send_request(self.request()).await.map_err(gone)
    }

    fn request(&self) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = hyper::Uri::from_static(self.path);
        let headers = request.headers_mut();
        headers.insert(HOST, HeaderValue::from_static("localhost"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        request
    }
}

async fn whole(answer: Response<Incoming>) -> Result<Bytes, ClientError> {
    let body = Limited::new(answer.into_body(), LONGEST_ANSWER).collect();
    let body = timeout(ANSWERING, body).await.map_err(nonsense)?;
    Ok(body.map_err(nonsense)?.to_bytes())
}
