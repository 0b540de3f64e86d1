//! Devices that publish while people look at the dashboard: what those who look cost, for each message.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use anyhow::{Context, Result, anyhow, bail};
use tokio::runtime;
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinSet, LocalSet};

use crate::clock;
use crate::connection;
use crate::load::Pace;
use crate::report::Metrics;
use crate::scenario::publish;
use crate::server::{Kind, Server, Stage};
use crate::websocket::WebSocket;

/// What every page of the dashboard asks the live link for, the overview among them.
const ON_EVERY_PAGE: [&str; 3] = [
    r#""subscribe":"changes","kinds":"registry,presence,refusal,command,receipt,audit","snapshot":false"#,
    r#""subscribe":"rates""#,
    r#""subscribe":"fleet""#,
];
/// What the page with the message flow asks for beside it.
const ON_THE_FLOW: [&str; 2] = [r#""subscribe":"groups""#, r#""subscribe":"events""#];

/// The number of the first of these, what happens.
const CHANGES: usize = 1;

/// What somebody looks at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// The overview: rates, the fleet, what happens.
    Overview,
    /// The message flow: that, the consumer groups, and what devices send.
    Flow,
}

#[derive(Clone, Copy)]
pub struct Load {
    pub browsers: usize,
    pub page: Page,
    pub sending: publish::Load,
}

impl Page {
    pub fn name(self) -> &'static str {
        match self {
            Self::Overview => "the overview",
            Self::Flow => "the message flow",
        }
    }

    /// What is asked for, as the link wants to hear it; the numbers count from 1.
    fn asks(self) -> Vec<String> {
        let more = if self == Self::Flow { ON_THE_FLOW.as_slice() } else { &[] };
        let all = ON_EVERY_PAGE.iter().chain(more);
        all.enumerate().map(|(index, what)| format!(r#"{{"id":{},{what}}}"#, index + 1)).collect()
    }
}

/// What is measured is the publishing; the CPU is the hub's alone, and how much the browsers were told stands beside it.
pub fn run(stage: &Stage, load: Load, pace: Pace) -> Result<Metrics> {
    let server = stage.start(Kind::Hub, load.sending.connections)?;
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let browsers = LocalSet::new().block_on(&runtime, open(stage, &server, load))?;
    let told = Arc::new(AtomicU64::new(0));
    let (stop, stopped) = oneshot::channel();
    let begin = clock::now();
    let looking = {
        let told = Arc::clone(&told);
        // The runtime goes along, since the connections are its own.
        thread::spawn(move || LocalSet::new().block_on(&runtime, look(browsers, load.page, &told, stopped)))
    };
    let sent = publish::send(stage, &server, load.sending, pace);
    let elapsed = (clock::now() - begin).as_secs_f64();
    // Browsers that have failed have gone already, and say why below.
    let _ = stop.send(());
    looking.join().map_err(|_| anyhow!("the browsers panicked"))?.with_context(|| server.log_tail())?;
    let mut metrics = sent?;
    metrics.insert("told_per_second", told.load(Ordering::Relaxed) as f64 / elapsed);
    Ok(metrics)
}

async fn open(stage: &Stage, server: &Server, load: Load) -> Result<Vec<WebSocket>> {
    let client = stage.certificate.client(Some("http/1.1"))?;
    let (api, token) = (server.addresses.api, server.owner_token.clone());
    let open_one = move |number| {
        let (client, token) = (client.clone(), token.clone());
        async move {
            let connection = connection::open(api, &client, number).await?;
            let mut browser = WebSocket::open(connection, "/api/v1/live", &token).await?;
            for ask in load.page.asks() {
                browser.say(&ask).await?;
            }
            Ok(browser)
        }
    };
    connection::open_many(0..load.browsers, open_one).await
}

/// Takes what all are told until it is over. Each has to have been told something of all that it asked for.
async fn look(browsers: Vec<WebSocket>, page: Page, told: &Arc<AtomicU64>, stopped: oneshot::Receiver<()>) -> Result<()> {
    let wanted: BTreeSet<usize> = (1..=page.asks().len()).collect();
    let over = watch::Sender::new(());
    let mut looking = JoinSet::new();
    for mut browser in browsers {
        let (told, wanted, mut over) = (Arc::clone(told), wanted.clone(), over.subscribe());
        looking.spawn_local(async move {
            let mut heard_of = BTreeSet::new();
            loop {
                tokio::select! {
                    _ = over.changed() => break,
                    text = browser.hear() => {
                        let id = subscription(text?)?;
                        heard_of.insert(id);
                        // That all devices come is told as well, before anything is measured.
                        told.fetch_add(u64::from(id > CHANGES), Ordering::Relaxed);
                    }
                }
            }
            if wanted.is_subset(&heard_of) { Ok(()) } else { bail!("a browser has heard of nothing but {heard_of:?}") }
        });
    }
    tokio::select! {
        _ = stopped => {}
        Some(ended) = looking.join_next() => {
            ended.context("a task was lost")??;
            bail!("a browser has ended early");
        }
    }
    drop(over);
    while let Some(ended) = looking.join_next().await {
        ended.context("a task was lost")??;
    }
    Ok(())
}

/// Of which subscription a message is; 0 is the link itself.
fn subscription(text: &[u8]) -> Result<usize> {
    let text = std::str::from_utf8(text)?;
    if text.contains(r#""kind":"problem""#) {
        bail!("a browser was told {text}");
    }
    let id = text.strip_prefix(r#"{"id":"#).and_then(|rest| rest.split([',', '}']).next());
    Ok(id.context("a message without an id")?.parse()?)
}
