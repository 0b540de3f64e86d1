//! As much of HTTP/1.1 as the benchmark needs: one request, one answer, over a connection that stays open.

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::connection::Connection;

/// The hub's answers to these requests are short; more than this is not what was asked for.
const RESPONSE_LIMIT_BYTES: usize = 64 * 1024;

/// The bytes of a request, made once and sent as often as needed.
pub fn request(method: &str, target: &str, token: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let host = crate::tls::HOST;
    let length = body.len();
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\nAuthorization: {token}\r\nContent-Length: {length}\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    [head.as_bytes(), b"\r\n", body].concat()
}

/// A connection with its buffer, which is kept from one exchange to the next.
pub struct Client {
    connection: Connection,
    received: Vec<u8>,
}

/// What the server said.
pub struct Answer<'a> {
    pub status: u16,
    head: &'a str,
    pub body: &'a [u8],
}

impl Answer<'_> {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.split("\r\n").filter_map(|line| line.split_once(':'));
        fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(self.body).context("the answer is not JSON")
    }
}

/// The status, and where in `Client::received` the head ends and the body lies.
struct Response {
    status: u16,
    body_start: usize,
    end: usize,
}

impl Client {
    pub fn new(connection: Connection) -> Self {
        Self { connection, received: Vec::with_capacity(RESPONSE_LIMIT_BYTES) }
    }

    /// Sends `request` and waits for the whole answer, which must be a success.
    pub async fn exchange(&mut self, request: &[u8]) -> Result<Answer<'_>> {
        self.received.clear();
        self.connection.write_all(request).await?;
        self.connection.flush().await?;
        let Response { status, body_start, end } = loop {
            if self.connection.read_buf(&mut self.received).await? == 0 {
                bail!("the server closed the connection before it had answered");
            }
            if let Some(response) = parse(&self.received)? {
                break response;
            }
            if self.received.len() > RESPONSE_LIMIT_BYTES {
                bail!("the answer is longer than {RESPONSE_LIMIT_BYTES} bytes");
            }
        };
        let head = std::str::from_utf8(&self.received[..body_start]).context("the answer's head is not text")?;
        let answer = Answer { status, head, body: &self.received[body_start..end] };
        if !(200..300).contains(&status) {
            bail!("the server answered {status}: {}", String::from_utf8_lossy(answer.body));
        }
        Ok(answer)
    }
}

/// The answer, once all of it is there.
fn parse(bytes: &[u8]) -> Result<Option<Response>> {
    let Some(head_end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(&bytes[..head_end]).context("the answer's head is not text")?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok());
    let status = status.context("the answer does not begin with HTTP/1.1 and a status")?;
    let mut length = 0;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse::<usize>()?;
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            bail!("the answer is chunked, which this client does not read");
        }
    }
    let body_start = head_end + 4;
    let end = body_start + length;
    Ok((bytes.len() >= end).then_some(Response { status, body_start, end }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_or_not_yet() {
        let whole = b"HTTP/1.1 404 Not Found\r\ncontent-length: 5\r\nx: y\r\n\r\nhello";
        for cut in 0..whole.len() {
            assert!(parse(&whole[..cut]).is_ok_and(|response| response.is_none()), "cut at {cut}");
        }
        let response = parse(whole).ok().flatten().expect("it is whole");
        assert_eq!((response.status, &whole[response.body_start..response.end]), (404, b"hello".as_slice()));
        assert!(parse(b"HTTP/1.1 204 No Content\r\n\r\n").is_ok_and(|response| response.is_some_and(|it| it.status == 204)));
        assert!(parse(b"SSH-2.0\r\n\r\n").is_err());
    }
}
