//! Clients of AMQP that know nothing of Azure: Qpid Proton and rhea, each behind a script that does what a story tells it.

use anyhow::{Context, Result, ensure};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::hub::Ready;
use crate::namespace::HUB;
use crate::program::{Actor, Program};

/// Which client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Library {
    /// Apache Qpid Proton, in C, by its Python binding.
    Proton,
    /// rhea, in JavaScript.
    Rhea,
}

/// Both.
pub const LIBRARIES: [Library; 2] = [Library::Proton, Library::Rhea];

impl Library {
    /// The client, not started yet: without SASL unless it is given names in its environment, as `puppet.js` says.
    ///
    /// # Errors
    /// When it is not installed.
    pub fn program(self, hub: &Ready) -> Result<Program> {
        let program = match self {
            Self::Proton => Program::python("puppet.py", hub),
            Self::Rhea => Program::node("puppet.js", hub),
        };
        Ok(program?.env("HOST", HUB))
    }

    /// The client with a connection of a device's, by SASL PLAIN with its token.
    ///
    /// # Errors
    /// When it is not let in.
    pub async fn device(self, hub: &Ready, device: &str) -> Result<Puppet> {
        let program = self.program(hub)?.env("USER_NAME", format!("{device}@sas.hub")).env("PASSWORD", hub.device(device)?.token());
        Puppet::connected(program).await
    }
}

/// A client with a connection.
pub struct Puppet(Actor);

impl Puppet {
    /// Starts it, and waits until its connection is open.
    ///
    /// # Errors
    /// When it is not let in.
    pub async fn connected(program: Program) -> Result<Self> {
        let mut puppet = Self::started(program)?;
        puppet.hears("connected").await?;
        Ok(puppet)
    }

    /// Starts it, and does not wait for its connection.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn started(program: Program) -> Result<Self> {
        Ok(Self(program.start()?))
    }

    /// Tells it something, and waits for nothing.
    ///
    /// # Errors
    /// When it no longer listens.
    pub async fn tell(&mut self, what: Value) -> Result<()> {
        self.0.tell(&what.to_string()).await
    }

    /// What it says next, which must be `event`.
    ///
    /// # Errors
    /// When it says something else.
    pub async fn hears(&mut self, event: &str) -> Result<Value> {
        let told = self.0.next().await.with_context(|| format!("waiting for {event}"))?;
        ensure!(told["event"] == event, "{told} instead of {event}");
        Ok(told)
    }

    /// Brings a token, and answers the status.
    ///
    /// # Errors
    /// When no answer comes.
    pub async fn token(&mut self, audience: &str, token: &str) -> Result<Value> {
        self.tell(json!({"do": "token", "audience": audience, "token": token})).await?;
        let told = self.hears("token").await?;
        ensure!(told["audience"] == audience, "an answer for {}", told["audience"]);
        Ok(told["status"].clone())
    }

    /// Opens a link; `what` is `sender` or `receiver`, with more of what `puppet.js` says.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn attach(&mut self, what: &str, link: &str, address: &str, more: Value) -> Result<Value> {
        self.asks(what, link, address, more).await?;
        let told = self.hears("attached").await?;
        ensure!(told["link"] == link, "{told} instead of {link}");
        Ok(told)
    }

    /// Opens a link in vain; answers the condition.
    ///
    /// # Errors
    /// When it is granted.
    pub async fn is_refused(&mut self, what: &str, link: &str, address: &str, more: Value) -> Result<String> {
        self.asks(what, link, address, more).await?;
        self.condition_of("detached", link).await
    }

    async fn asks(&mut self, what: &str, link: &str, address: &str, mut more: Value) -> Result<()> {
        for (name, value) in [("do", what), ("link", link), ("address", address)] {
            more[name] = json!(value);
        }
        self.tell(more).await
    }

    /// Sends a message and answers its outcome.
    ///
    /// # Errors
    /// When there is none.
    pub async fn send(&mut self, link: &str, body: &[u8], more: Value) -> Result<Value> {
        self.tells_of_message(link, body, more).await?;
        let told = self.hears("outcome").await?;
        ensure!(told["link"] == link, "{told} instead of {link}'s");
        Ok(told)
    }

    /// Sends a message that is settled as it is sent.
    ///
    /// # Errors
    /// When it no longer listens.
    pub async fn send_settled(&mut self, link: &str, body: &[u8]) -> Result<()> {
        self.tells_of_message(link, body, json!({"settled": true})).await
    }

    async fn tells_of_message(&mut self, link: &str, body: &[u8], mut more: Value) -> Result<()> {
        more["do"] = json!("send");
        more["link"] = json!(link);
        if more["body"].is_null() {
            more["body"] = json!(STANDARD.encode(body));
        }
        self.tell(more).await
    }

    /// Gives credit.
    ///
    /// # Errors
    /// When it no longer listens.
    pub async fn credit(&mut self, link: &str, credit: u32) -> Result<()> {
        self.tell(json!({"do": "credit", "link": link, "credit": credit})).await
    }

    /// The next message, and what it says.
    ///
    /// # Errors
    /// When something else comes.
    pub async fn receives(&mut self, link: &str) -> Result<(Vec<u8>, Value)> {
        let told = self.hears("received").await?;
        ensure!(told["link"] == link, "{told} instead of {link}'s");
        Ok((STANDARD.decode(told["body"].as_str().context("no body")?)?, told))
    }

    /// Settles the oldest message of a link that is not settled.
    ///
    /// # Errors
    /// When it is not settled then.
    pub async fn settle(&mut self, link: &str, outcome: &str) -> Result<()> {
        self.tell(json!({"do": "settle", "link": link, "outcome": outcome})).await?;
        self.hears("settled").await.map(drop)
    }

    /// The condition with which a link, or the connection, ends.
    ///
    /// # Errors
    /// When something else happens.
    pub async fn condition_of(&mut self, event: &str, link: &str) -> Result<String> {
        let told = self.hears(event).await?;
        ensure!(event == "closed" || told["link"] == link, "{told} instead of {link}'s");
        Ok(told["condition"].as_str().unwrap_or_default().to_owned())
    }

    /// Lets it end.
    ///
    /// # Errors
    /// When it does not.
    pub async fn end(mut self) -> Result<()> {
        self.0.end().await.map(drop)
    }
}
