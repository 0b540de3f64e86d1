//! The hub's REST API (docs/api.md), asked with the browser's session: its cookie goes along by itself, and what changes something says the
//! session's token, which no other site can know.

use leptos::prelude::*;
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{Headers, RequestInit, Response};

use crate::browser::{hear_time, own_time};
use crate::model::hub::ActionResults;
use crate::model::json::value::Value;
use crate::model::json::{FromJson, object, read};
use crate::model::payload::harmless;

/// The header with the session's token.
const TOKEN_HEADER: &str = "mooring-csrf";

/// Who is signed in, and what they may: `GET /api/v1/session`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Session {
    /// Whether anybody is.
    pub signed_in: bool,
    /// Who.
    pub name: Option<String>,
    /// `Read`, `Bodies`, `Commands`, `Devices`, `Secrets`.
    pub rights: Vec<String>,
    /// What every change has to say.
    pub csrf: Option<String>,
    /// How to sign in here.
    pub methods: Vec<Method>,
}

object!(Session { signed_in: "signedIn", name: "name", rights: "rights", csrf: "csrf", methods: "methods" });

/// A way to sign in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Method {
    /// `link`, `password`, `kubernetes` or `openid`.
    pub method: String,
    /// What makes a token, for people to copy.
    pub command: Option<String>,
    /// Where to go instead, to come back signed in.
    pub start: Option<String>,
    /// Who knows people there.
    pub issuer: Option<String>,
}

object!(Method { method: "method", command: "command", start: "start", issuer: "issuer" });

impl Session {
    /// Whether they may.
    pub fn may(&self, right: &str) -> bool {
        self.rights.iter().any(|found| found == right)
    }
}

/// Why an answer is not there.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    /// HTTP's status; 0 when there was no answer.
    pub status: u16,
    /// For people.
    pub text: String,
}

#[derive(Default)]
struct ErrorDocument {
    message: String,
}

object!(ErrorDocument { message: "Message" });

/// What there is at this address, below `/api/v1`.
pub async fn get<T: FromJson>(path: &str) -> Result<T, Failure> {
    understood(&text_of(&send("GET", path, &[], None).await?).await?)
}

/// Bytes, whatever they are.
pub async fn get_bytes(path: &str) -> Result<Vec<u8>, Failure> {
    let response = send("GET", path, &[], None).await?;
    let buffer = JsFuture::from(response.array_buffer().map_err(|_| lost())?).await.map_err(|_| lost())?;
    Ok(js_sys::Uint8Array::new(&buffer).to_vec())
}

/// Changes something. `headers` are the request's own.
pub async fn post<T: FromJson>(path: &str, headers: &[(&str, String)], body: &[u8]) -> Result<T, Failure> {
    let token = session_token();
    let mut all: Vec<(&str, String)> = headers.to_vec();
    all.extend(token.map(|token| (TOKEN_HEADER, token)));
    understood(&text_of(&send("POST", path, &all, Some(body)).await?).await?)
}

/// Changes something, with what is said in JSON.
async fn post_json<T: FromJson>(path: &str, body: &Value) -> Result<T, Failure> {
    post(path, &[("content-type", "application/json".to_owned())], body.to_string().as_bytes()).await
}

/// Does something to devices.
pub async fn act(action: &Value) -> Result<ActionResults, Failure> {
    post_json("/devices/actions", action).await
}

thread_local! {
    static TOKEN: std::cell::RefCell<Option<String>> = const { std::cell::RefCell::new(None) };
}

/// Asks who is signed in, and remembers the session's token.
pub async fn session() -> Result<Session, Failure> {
    Ok(remembered(get("/session").await?))
}

/// Signs somebody in, with what they bring.
pub async fn sign_in(credentials: &Value) -> Result<Session, Failure> {
    Ok(remembered(post_json("/session", credentials).await?))
}

/// Signs whoever it is out.
pub async fn sign_out() -> Result<(), Failure> {
    let token = session_token().map(|token| (TOKEN_HEADER, token));
    send("DELETE", "/session", &token.into_iter().collect::<Vec<_>>(), None).await.map(drop)
}

fn remembered(session: Session) -> Session {
    TOKEN.with_borrow_mut(|token| token.clone_from(&session.csrf));
    session
}

fn session_token() -> Option<String> {
    TOKEN.with_borrow(Clone::clone)
}

async fn send(method: &str, path: &str, headers: &[(&str, String)], body: Option<&[u8]>) -> Result<Response, Failure> {
    let init = RequestInit::new();
    init.set_method(method);
    init.set_credentials(web_sys::RequestCredentials::SameOrigin);
    let wanted = Headers::new().map_err(|_| lost())?;
    for (name, value) in headers {
        // A value may be any text; a header is bytes, which a browser takes as ISO 8859-1.
        let bytes: String = value.bytes().map(char::from).collect();
        wanted.set(name, &bytes).map_err(|_| Failure { status: 0, text: format!("{name} can't be sent: {value}") })?;
    }
    init.set_headers(&wanted);
    if let Some(body) = body {
        init.set_body(&js_sys::Uint8Array::from(body));
    }
    let begun = own_time();
    let answer = JsFuture::from(window().fetch_with_str_and_init(&format!("/api/v1{path}"), &init)).await;
    let response: Response = answer.and_then(JsCast::dyn_into::<Response>).map_err(|_: JsValue| lost())?;
    response.headers().get("date").ok().flatten().into_iter().for_each(|said| hear_time(begun, &said));
    if response.ok() {
        return Ok(response);
    }
    let text = text_of(&response).await.unwrap_or_default();
    let said = read::<ErrorDocument>(&text).map(|document| document.message).unwrap_or_default();
    let said = said.split_once(';').map_or(said.as_str(), |(_, text)| text).to_owned();
    let text = if said.is_empty() { format!("The hub answered {}.", response.status()) } else { harmless(&said) };
    Err(Failure { status: response.status(), text })
}

fn understood<T: FromJson>(text: &str) -> Result<T, Failure> {
    read(text).map_err(|error| Failure { status: 200, text: format!("The hub's answer can't be read: {error}") })
}

async fn text_of(response: &Response) -> Result<String, Failure> {
    let text = JsFuture::from(response.text().map_err(|_| lost())?).await.map_err(|_| lost())?;
    Ok(text.as_string().unwrap_or_default())
}

fn lost() -> Failure {
    Failure { status: 0, text: "The hub does not answer.".to_owned() }
}
