//! What a request says, and what is wrong with it.

use std::error::Error;

use axum::Json;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Bytes;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::Denial;
use super::places::{Full, Stay};
use super::serving::ASKING;
use crate::types::ErrorBody;

/// The longest body of a request, in bytes.
const LONGEST_BODY: usize = 16 * 1024;

/// The body of a request, read as JSON whatever it says it is, because `curl -d` says that it is
/// a form. No body, or `null`, is an object with nothing in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<T>(pub(super) T);

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for Asked<T> {
    type Rejection = Rejection;

    async fn from_request(request: Request, _: &S) -> Result<Self, Rejection> {
        let body = whole(request).await?;
        let text = match body.trim_ascii() {
            b"" | b"null" => b"{}",
            text => text,
        };
        serde_json::from_slice(text).map(Self).map_err(|error| Rejection {
            status: StatusCode::BAD_REQUEST,
            error: format!("failed to read the body as JSON: {error}"),
        })
    }
}

async fn whole(request: Request) -> Result<Bytes, Rejection> {
    let body = Limited::new(request.into_body(), LONGEST_BODY).collect();
    let body = timeout(ASKING, body).await.map_err(|_| Rejection {
        status: StatusCode::REQUEST_TIMEOUT,
        error: format!("the body did not come within {} s", ASKING.as_secs()),
    })?;
    body.map(|body| body.to_bytes()).map_err(|error| unreadable(&*error))
}

fn unreadable(error: &(dyn Error + Send + Sync + 'static)) -> Rejection {
    match error.is::<LengthLimitError>() {
        true => Rejection {
            status: StatusCode::PAYLOAD_TOO_LARGE,
            error: format!("the body is longer than {LONGEST_BODY} bytes"),
        },
        false => Rejection {
            status: StatusCode::BAD_REQUEST,
            error: format!("failed to read the body: {error}"),
        },
    }
}

/// Why a request is not answered as it would like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rejection {
    pub(super) status: StatusCode,
    pub(super) error: String,
}

impl Rejection {
    pub(super) fn stopping() -> Self {
        let error = "the app is stopping".to_owned();
        Self { status: StatusCode::SERVICE_UNAVAILABLE, error }
    }

    pub(super) fn silent() -> Self {
        let error = "the app does not answer in time; ask again".to_owned();
        Self { status: StatusCode::GATEWAY_TIMEOUT, error }
    }
}

impl From<Denial> for Rejection {
    fn from(denial: Denial) -> Self {
        Self { status: StatusCode::CONFLICT, error: denial.reason }
    }
}

impl From<Full> for Rejection {
    fn from(Full(stay): Full) -> Self {
        let what = match stay {
            Stay::Waiting => "wait for an outcome",
            Stay::Following => "follow the events",
        };
        let error = format!("too many clients {what} already; end one of them");
        Self { status: StatusCode::TOO_MANY_REQUESTS, error }
    }
}

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        (self.status, Json(ErrorBody { error: self.error, version })).into_response()
    }
}
