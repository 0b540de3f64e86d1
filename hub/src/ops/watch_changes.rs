//! Somebody watches what happens: first how things stand, if wanted, then every change, without a gap between the two.
//!
//! A watcher pulls. It stands somewhere in the ring of changes from the first moment on, so that nothing is missed while it is shown how
//! things stand; what it is told then may be in both. Applied in order, the last word about each thing is the true one: the parts of how
//! things stand are read after all changes that were told before them, and told before all that come after.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::core::change::{Change, ChangeKind, ChangePosition, Transition};
use crate::core::command::{CommandId, ReceiptId};
use crate::core::device_id::DeviceId;
use crate::core::session::ConnectionId;
use crate::observe::CountedWatcher;
use crate::ops::Hub;
use crate::ops::changes::{Cursor, Lanes, NoPlace, Span};
use crate::ops::read_commands::{CommandFilter, CommandQuery, CommandView, list_commands};
use crate::ops::seats::Seat;
use crate::store::RegistryError;
use crate::store::commands::CommandsError;
use crate::store::presence::{Session, SessionKey};

pub use crate::ops::changes::Published;

/// How many identities, or sessions, are read at once: what a slow watcher makes the hub hold for it, 100 KB or so.
const PAGE: usize = 100;

/// What somebody wants to watch.
#[derive(Clone, Debug)]
pub struct Interest {
    /// Of these kinds.
    pub kinds: Vec<ChangeKind>,
    /// Of these devices.
    pub devices: Devices,
}

/// A choice among devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Devices {
    /// All.
    All,
    /// One.
    One(DeviceId),
    /// Those whose ids begin so; the text could itself be an id.
    Prefix(DeviceId),
}

/// Where and how somebody begins to watch.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// Where an earlier watcher left off; now, when there was none.
    pub from: Option<ChangePosition>,
    /// Whether to tell first how things stand. `None`: when there is no place to go on from.
    pub snapshot: Option<bool>,
}

/// Why a watcher can't go on from where an earlier one left off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetReason {
    /// The hub has been restarted since.
    HubRestarted,
    /// Something that it may have wanted is not kept any more: too much has happened since, or it is too long ago.
    TooOld,
    /// There is no such place yet.
    Unknown,
}

impl ResetReason {
    /// The name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::HubRestarted => "HubRestarted",
            Self::TooOld => "TooOld",
            Self::Unknown => "Unknown",
        }
    }
}

/// What a watcher is told.
#[derive(Debug)]
pub enum News {
    /// It can't go on from where it wanted to; what it knows is out of date.
    Reset(ResetReason),
    /// How things stand is told from here on; what it knows and is not told is gone.
    SnapshotBegins,
    /// A part of how things stand.
    Standing(Vec<Standing>),
    /// That was how things stand.
    SnapshotEnds,
    /// Something has happened; never nothing.
    Changes(Vec<Arc<Published>>),
    /// It was too slow: so many changes of the lanes that it reads, whatever kinds and devices it wants of them, are gone.
    Skipped(u64),
}

/// How one thing stands.
#[derive(Debug)]
pub enum Standing {
    /// As if it had just become so.
    Like(Change),
    /// A command that has not ended.
    Command(CommandView),
}

/// How things stand can't be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WatchError {
    /// Identities.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// Commands.
    #[error(transparent)]
    Commands(#[from] CommandsError),
}

/// Watches until it is dropped.
pub struct Watcher {
    hub: Arc<Hub>,
    interest: Interest,
    /// Before the next change to look at.
    cursor: Cursor,
    /// What comes before the changes, if it stands still at the beginning.
    stages: VecDeque<Stage>,
    _seat: Arc<Seat>,
    _counted: CountedWatcher,
}

/// A part of what comes before the changes.
#[derive(Clone, Debug)]
enum Stage {
    Reset(ResetReason),
    Begin,
    Identities { after: Option<DeviceId> },
    Sessions { after: Option<SessionKey> },
    Commands { before: Option<CommandId> },
    Receipts { after: Option<ReceiptId> },
    End,
}

/// Opens a watcher for somebody who may see all that `interest` names. `seat` is one of the [watchers'](crate::ops::changes::Changes::watchers),
/// and may be that of all that one connection watches.
pub fn watch_changes(hub: &Arc<Hub>, seat: Arc<Seat>, mut interest: Interest, start: Start) -> Watcher {
    // Whoever names one twice is told once how its things stand.
    let mut named = Vec::new();
    interest.kinds.retain(|kind| {
        !named.contains(kind) && {
            named.push(*kind);
            true
        }
    });
    let (cursor, reset) = place(hub, start.from, Lanes::of(&interest.kinds));
    let mut stages: VecDeque<Stage> = reset.map(Stage::Reset).into_iter().collect();
    if start.snapshot.unwrap_or(start.from.is_none() || reset.is_some()) {
        stages.push_back(Stage::Begin);
        for kind in &interest.kinds {
            stages.extend(match kind {
                ChangeKind::Registry => Some(Stage::Identities { after: None }),
                ChangeKind::Presence => Some(Stage::Sessions { after: None }),
                ChangeKind::Refusal | ChangeKind::Audit => None,
                ChangeKind::Command => Some(Stage::Commands { before: None }),
                ChangeKind::Receipt => Some(Stage::Receipts { after: None }),
            });
        }
        stages.push_back(Stage::End);
    }
    Watcher { hub: Arc::clone(hub), interest, cursor, stages, _seat: seat, _counted: hub.metrics.watches_changes() }
}

/// Where to begin, and why not where it was asked for.
fn place(hub: &Hub, from: Option<ChangePosition>, lanes: Lanes) -> (Cursor, Option<ResetReason>) {
    let stood = match from {
        None => return (hub.changes.end_of(lanes), None),
        Some(from) if from.boot < hub.boot => Err(ResetReason::HubRestarted),
        Some(from) if from.boot > hub.boot => Err(ResetReason::Unknown),
        Some(from) => hub.changes.stand(from.next, lanes).map_err(|no_place| match no_place {
            NoPlace::Gone => ResetReason::TooOld,
            NoPlace::Ahead => ResetReason::Unknown,
        }),
    };
    match stood {
        Ok(cursor) => (cursor, None),
        Err(reason) => (hub.changes.end_of(lanes), Some(reason)),
    }
}

impl Watcher {
    /// The next news; `None` when the hub is about to end. Loses nothing when it is dropped while it waits.
    pub async fn next(&mut self) -> Result<Option<News>, WatchError> {
        loop {
            if let Some(news) = self.look() {
                return Ok(Some(news));
            }
            match self.stages.front().cloned() {
                None => {
                    if !self.hub.changes.wait_for(self.cursor.next).await {
                        return Ok(None);
                    }
                }
                Some(stage) => {
                    let (news, then) = self.stand(stage).await?;
                    match then {
                        Some(rest) => self.stages[0] = rest,
                        None => drop(self.stages.pop_front()),
                    }
                    if let Some(news) = news {
                        return Ok(Some(news));
                    }
                }
            }
        }
    }

    /// Where it stands after all that [`Self::next`] has given; `None` while it is being told how things stand, because whoever went on
    /// from there would never be told the rest.
    #[must_use]
    pub fn position(&self) -> Option<ChangePosition> {
        self.stages.is_empty().then_some(ChangePosition { boot: self.hub.boot, next: self.cursor.next })
    }

    /// Where it would stand just after this change; `None` as in [`Self::position`].
    #[must_use]
    pub fn position_after(&self, published: &Published) -> Option<ChangePosition> {
        self.stages.is_empty().then_some(ChangePosition { boot: self.hub.boot, next: published.number + 1 })
    }

    /// What has happened meanwhile and is wanted.
    fn look(&mut self) -> Option<News> {
        // Before the first words about the beginning there is nothing to add to.
        if matches!(self.stages.front(), Some(Stage::Reset(_) | Stage::Begin)) {
            return None;
        }
        loop {
            let mut changes = match self.hub.changes.read(&mut self.cursor) {
                Span::Skipped(count) => return Some(News::Skipped(count)),
                Span::Changes(changes) => changes,
            };
            if changes.is_empty() {
                return None;
            }
            changes.retain(|published| self.interest.includes(&published.change));
            if !changes.is_empty() {
                return Some(News::Changes(changes));
            }
        }
    }

    /// What one stage has to tell, and what is left of it.
    async fn stand(&self, stage: Stage) -> Result<(Option<News>, Option<Stage>), WatchError> {
        Ok(match stage {
            Stage::Reset(reason) => (Some(News::Reset(reason)), None),
            Stage::Begin => (Some(News::SnapshotBegins), None),
            Stage::End => (Some(News::SnapshotEnds), None),
            Stage::Identities { after } => {
                let (identities, after) = self.identities(after).await?;
                (standing(identities), after.map(|after| Stage::Identities { after: Some(after) }))
            }
            Stage::Sessions { after } => {
                let (sessions, after) = self.sessions(after.as_ref());
                (standing(sessions), after.map(|after| Stage::Sessions { after: Some(after) }))
            }
            Stage::Commands { before } => {
                let (commands, before) = self.commands(before).await?;
                (standing(commands), before.map(|before| Stage::Commands { before: Some(before) }))
            }
            Stage::Receipts { after } => {
                let (receipts, after) = self.receipts(after);
                (standing(receipts), after.map(|after| Stage::Receipts { after: Some(after) }))
            }
        })
    }

    async fn identities(&self, after: Option<DeviceId>) -> Result<(Vec<Standing>, Option<DeviceId>), RegistryError> {
        let registry = &self.hub.registry;
        let mut page = match (&self.interest.devices, &after) {
            (Devices::One(id), _) => registry.get(id).await?.into_iter().collect(),
            // The prefix itself comes before everything that it is a prefix of.
            (Devices::Prefix(prefix), None) => {
                let mut page: Vec<_> = registry.get(prefix).await?.into_iter().collect();
                page.extend(registry.list(Some(prefix), PAGE).await?);
                page
            }
            (Devices::All | Devices::Prefix(_), _) => registry.list(after.as_ref(), PAGE).await?,
        };
        let whole = page.len() >= PAGE && !matches!(self.interest.devices, Devices::One(_));
        let last = page.last().map(|identity| identity.device_id.clone()).filter(|id| whole && self.interest.devices.include(id.as_str()));
        page.retain(|identity| self.interest.devices.include(identity.device_id.as_str()));
        Ok((page.into_iter().map(|identity| Standing::Like(Change::IdentityWritten(Arc::new(identity)))).collect(), last))
    }

    fn sessions(&self, after: Option<&SessionKey>) -> (Vec<Standing>, Option<SessionKey>) {
        let presence = &self.hub.presence;
        let (mut page, whole) = match (&self.interest.devices, after) {
            (Devices::One(id), _) => (presence.sessions_of(id), false),
            (Devices::Prefix(prefix), None) => {
                let mut page = presence.sessions_of(prefix);
                let last = page.last().map(Session::key).unwrap_or((prefix.clone(), ConnectionId(u64::MAX)));
                let more = presence.sessions(Some(&last), PAGE);
                let whole = more.len() == PAGE;
                page.extend(more);
                (page, whole)
            }
            (Devices::All | Devices::Prefix(_), _) => {
                let page = presence.sessions(after, PAGE);
                let whole = page.len() == PAGE;
                (page, whole)
            }
        };
        let last = page.last().map(Session::key).filter(|(id, _)| whole && self.interest.devices.include(id.as_str()));
        page.retain(|session| session.ended().is_none() && self.interest.devices.include(session.device_id().as_str()));
        (page.iter().map(|session| Standing::Like(Change::Presence(connected(session)))).collect(), last)
    }

    async fn commands(&self, before: Option<CommandId>) -> Result<(Vec<Standing>, Option<CommandId>), CommandsError> {
        let device = match &self.interest.devices {
            Devices::One(id) => Some(id.clone()),
            Devices::All | Devices::Prefix(_) => None,
        };
        let mut page = list_commands(&self.hub, CommandQuery { device, state: CommandFilter::Pending, before, limit: PAGE }).await?;
        let last = page.last().filter(|_| page.len() == PAGE).map(|view| view.command.id);
        page.retain(|view| self.interest.devices.include(view.command.device_id.as_str()));
        Ok((page.into_iter().map(Standing::Command).collect(), last))
    }

    fn receipts(&self, after: Option<ReceiptId>) -> (Vec<Standing>, Option<ReceiptId>) {
        let mut page = self.hub.commands.machine().receipts_after(after, PAGE);
        let last = page.last().filter(|_| page.len() == PAGE).map(|receipt| receipt.id);
        page.retain(|receipt| self.interest.devices.include(receipt.device_id.as_str()));
        (page.into_iter().map(|receipt| Standing::Like(Change::Receipt(receipt))).collect(), last)
    }
}

fn standing(standing: Vec<Standing>) -> Option<News> {
    (!standing.is_empty()).then_some(News::Standing(standing))
}

impl Standing {
    /// What it is about.
    #[must_use]
    pub fn kind(&self) -> ChangeKind {
        match self {
            Self::Like(change) => change.kind(),
            Self::Command(_) => ChangeKind::Command,
        }
    }
}

fn connected(session: &Session) -> Transition {
    Transition {
        device_id: session.device_id().clone(),
        connection: session.connection(),
        protocol: session.protocol(),
        address: session.peer().ip(),
        time: session.since(),
        disconnected: None,
        connected: true,
    }
}

impl Interest {
    fn includes(&self, change: &Change) -> bool {
        self.kinds.contains(&change.kind()) && self.devices.include(change.device())
    }
}

impl Devices {
    fn include(&self, id: &str) -> bool {
        match self {
            Self::All => true,
            Self::One(wanted) => wanted.as_str() == id,
            Self::Prefix(prefix) => id.starts_with(prefix.as_str()),
        }
    }
}

#[cfg(test)]
mod tests;
