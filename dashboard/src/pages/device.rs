//! One device: how it is, its whole story on an axis and as a list, its identity, and a command to send.

use std::time::Duration;

use leptos::prelude::*;
use leptos::task::spawn_local;

use super::compose::Compose;
use super::credentials::Credentials;
use super::device_actions::Actions;
use super::device_manifest::Manifest;
use super::device_messages::{Messages, follow};
use super::device_timelines::Timelines;
use crate::api::{Failure, get};
use crate::browser::Later;
use crate::link::ask::Ask;
use crate::link::client::Subscription;
use crate::model::audit::Entry;
use crate::model::change::{Change, Command, Device as Identity, Step, What, parse};
use crate::model::format::{NOTHING, count};
use crate::model::hub::Flapping;
use crate::model::payload::harmless;
use crate::model::state::{ALERT, DeviceState};
use crate::model::timeline::{Page, Story};
use crate::model::words::{authentication, disconnect_reason};
use crate::parts::control::Copy;
use crate::parts::id::Id;
use crate::parts::notice::{Empty, Notice, Skeleton};
use crate::parts::panel::{Fact, Panel};
use crate::parts::payload::PayloadView;
use crate::parts::sign::Badge;
use crate::parts::when::{At, For};
use crate::routes::{Query, Route, segment};
use crate::world::{KINDS, World};

/// Facts of its past that are asked for at once.
const PAGE: &str = "200";

/// How long after the hub has ended what it tells of the device it is asked for once more.
const AGAIN: Duration = Duration::from_secs(10);

/// What is known of it.
#[derive(Clone, Copy)]
pub(super) struct Known {
    identity: RwSignal<Option<Identity>>,
    /// Whether the hub has said whether there is one.
    asked: RwSignal<bool>,
    connected: RwSignal<bool>,
    /// Since when and how often it comes and goes, if it does.
    flapping: Memo<Option<Flapping>>,
    /// Whether its newest past is here.
    pub(super) recalled: RwSignal<bool>,
    /// Behind what its story goes on into the past.
    pub(super) older: RwSignal<Option<String>>,
    pub(super) story: RwSignal<Story>,
    /// What is told of it since the hub began to say anew how things stand, while its past is on its way.
    coming: StoredValue<Option<Story>>,
    /// Whether the hub has said that it is, since it began to.
    confirmed: StoredValue<bool>,
    /// Ends with the page.
    subscription: StoredValue<Option<Subscription>, LocalStorage>,
    /// Why its past is not here.
    pub(super) failure: RwSignal<Option<Failure>>,
    /// Why what happens to it is not.
    problem: RwSignal<Option<String>>,
    again: Later,
}

/// The page.
#[component]
pub fn Device(
    /// Which.
    id: String,
) -> impl IntoView {
    let world: World = expect_context();
    let who = id.clone();
    let known = Known {
        identity: RwSignal::new(None),
        asked: RwSignal::new(false),
        connected: RwSignal::new(false),
        flapping: Memo::new(move |_| {
            world.fleet.with(|fleet| fleet.as_ref()?.flapping.iter().find(|flapping| flapping.device_id == who).cloned())
        }),
        recalled: RwSignal::new(false),
        older: RwSignal::new(None),
        story: RwSignal::new(Story::default()),
        coming: StoredValue::new(None),
        confirmed: StoredValue::new(false),
        subscription: StoredValue::new_local(None),
        failure: RwSignal::new(None),
        problem: RwSignal::new(None),
        again: Later::new(),
    };
    known.follow(&id, world);
    let which = id.clone();
    Effect::new(move |_| {
        world.missed.track();
        if known.failure.with_untracked(Option::is_some) {
            known.recall(&which, None);
        }
    });
    let gone = Memo::new(move |_| known.asked.get() && known.identity.with(Option::is_none));
    let nothing = Memo::new(move |_| gone.get() && known.recalled.get() && known.story.with(|story| story.entries().is_empty()));
    let named = id.clone();
    let following = follow(&id, world);
    let whole = move || {
        view! {
            {move || gone.get().then(|| view! { <Notice look=DeviceState::Disabled.look() text="No device has this id now".to_owned() more="What is below is of one that had, or of somebody who said to be it.".to_owned() /> })}
            <div class="grid">
                <div class="stack col-8"><Timelines known id=named.clone() counts=following.counts /><Messages id=named.clone() following /></div>
                <div class="stack col-4"><Compose id=named.clone() connected=known.connected pending=Signal::derive(move || known.story.with(Story::pending)) /><Credentials id=named.clone() identity=known.identity /><IdentityPanel known /></div>
            </div>
        }
        .into_any()
    };
    let unknown = || {
        view! {
            <section class="panel">
                <Empty heading="This hub has no such device">
                    <p>"Nobody has ever connected under this id, or it was so long ago that nothing is kept of it."</p>
                    <p><a class="btn" href=Route::Devices.path()>"All devices"</a></p>
                </Empty>
            </section>
        }
        .into_any()
    };
    view! {
        <Head id known />
        <div class="stack">
            {move || known.failure.get().map(|failure| view! { <Notice look=ALERT text="Its past can't be shown".to_owned() more=failure.text /> })}
            {move || known.problem.get().map(|more| view! { <Notice look=ALERT text="What happens to it now can't be shown".to_owned() more /> })}
            {move || if nothing.get() { unknown() } else { whole() }}
        </div>
    }
    .into_any()
}

impl Known {
    fn state(self) -> Option<DeviceState> {
        let connected = self.connected.get();
        let flapping = self.flapping.with(Option::is_some);
        let seen = self.story.with(|story| !story.spans().is_empty());
        let disabled = self.identity.with(|identity| Some(identity.as_ref()?.status == "disabled"));
        match (disabled, connected, flapping) {
            (None, false, _) => None,
            (Some(true), ..) => Some(DeviceState::Disabled),
            (_, _, true) => Some(DeviceState::Flapping),
            (_, true, _) => Some(DeviceState::Connected),
            _ if seen => Some(DeviceState::Offline),
            _ => self.recalled.get().then_some(DeviceState::Never),
        }
    }

    /// How things stand, and what happens to it from now on. Whatever breaks that off begins it anew.
    fn follow(self, id: &str, world: World) {
        let named = id.to_owned();
        let ask = Ask::Changes { kinds: KINDS, device: Some(id.to_owned()), snapshot: true };
        let told = move |_: &str, text: &str| match parse(text).map(|message| message.what) {
            Some(What::SnapshotBegin) => {
                self.problem.set(None);
                self.connected.set(false);
                self.confirmed.set_value(false);
                self.coming.set_value(Some(Story::default()));
                self.recall(&named, None);
            }
            Some(What::SnapshotEnd) => {
                if !self.confirmed.get_value() {
                    self.identity.set(None);
                }
                self.asked.set(true);
            }
            Some(What::Change(change)) => self.apply(change),
            // Something is not known, and only the whole has it.
            Some(What::Skipped(_)) => self.follow(&named, world),
            Some(What::Problem(text)) => {
                self.problem.set(Some(text));
                let named = named.clone();
                self.again.run(AGAIN, move || self.follow(&named, world));
            }
            _ => {}
        };
        self.subscription.set_value(world.subscribe(ask, None, told));
    }

    fn apply(self, change: Change) {
        match change {
            Change::Written(device) => {
                self.confirmed.set_value(true);
                self.identity.set(Some(*device));
            }
            Change::Deleted(_) => self.identity.set(None),
            Change::Presence(presence) => {
                self.connected.set(presence.device_connected);
                self.tell(&|story| story.presence(&presence));
            }
            Change::Audit(entry) => self.tell(&|story| story.recorded(Entry::clone(&entry))),
            Change::Refusal(refusal) => self.tell(&|story| story.refusal(refusal.clone())),
            Change::Command(command, step) => self.tell(&|story| story.command(Command::clone(&command), step.clone())),
            Change::Receipt(receipt) => {
                if let (Some(time), Some(step)) = (receipt.time, receipt.step) {
                    let step = Step { time, step, protocol: None, delivery_count: None, reason: receipt.reason, r#as: None };
                    self.tell(&|story| story.receipt(&receipt.command_id, step.clone()));
                }
            }
        }
    }

    /// Into the story that is shown, and the one that will be.
    fn tell(self, tell: &dyn Fn(&mut Story)) {
        self.coming.update_value(|coming| coming.iter_mut().for_each(tell));
        self.story.update(|story| tell(story));
    }

    /// What is kept of its past: the newest of it, or what came before.
    pub(super) fn recall(self, id: &str, before: Option<String>) {
        let path = format!("/devices/{}/timeline", segment(id));
        // It may be older than all that the newest page has, and says how the device is.
        let newest = before.is_none().then(|| format!("{path}?kinds=connection&limit=1"));
        let path = path + &Query::default().with("limit", PAGE).with("before", before.unwrap_or_default()).text();
        spawn_local(async move {
            let connection = match newest {
                Some(path) => get::<Page>(&path).await,
                None => Ok(Page::default()),
            };
            let answer = match connection {
                Ok(connection) => get::<Page>(&path).await.map(|page| (connection, page)),
                Err(failure) => Err(failure),
            };
            match answer {
                Ok((connection, page)) => {
                    let _ = self.older.try_set(page.next.clone());
                    let _ = self.failure.try_set(None);
                    let coming = self.coming.try_update_value(Option::take).flatten();
                    let _ = self.story.try_update(|story| {
                        *story = coming.unwrap_or_else(|| std::mem::take(story));
                        connection.entries.into_iter().for_each(|told| story.told(told));
                        story.page(page);
                    });
                    let _ = self.recalled.try_set(true);
                }
                Err(failure) => drop(self.failure.try_set(Some(failure))),
            }
        });
    }
}

#[component]
fn Head(id: String, known: Known) -> impl IntoView {
    let state = Memo::new(move |_| known.state());
    let last = Memo::new(move |_| known.story.with(|story| story.spans().last().cloned()));
    let since = Signal::derive(move || match (state.get(), last.get()) {
        (Some(DeviceState::Disabled), _) => known.identity.with(|identity| identity.as_ref()?.status_updated_time),
        (Some(DeviceState::Flapping), _) => known.flapping.with(|flapping| flapping.as_ref()?.since),
        (Some(DeviceState::Connected), last) => last.map(|last| last.from),
        (_, last) => last.and_then(|last| last.until),
    });
    let why = move || match state.get() {
        Some(DeviceState::Flapping) => known
            .flapping
            .with(|flapping| flapping.as_ref().map(|flapping| format!(", connected {}", count(flapping.connects, "time", "times")))),
        Some(DeviceState::Offline) => last.get().and_then(|last| last.reason).map(|reason| format!(" · {}", disconnect_reason(&reason))),
        _ => None,
    };
    let held = move || {
        known
            .identity
            .with(|identity| identity.as_ref().and_then(|identity| identity.hold.clone()))
            .map(|hold| format!(" · shut out by {}", harmless(&hold.by)))
    };
    let sentence = move || {
        since.get().map(
            |at| view! { <span>"for "<strong><For since /></strong>", since "<At time=at />" UTC"{move || why()}{move || held()}</span> },
        )
    };
    let status = Memo::new(move |_| known.identity.with(|identity| identity.as_ref().map(|identity| identity.status.clone())));
    let named = id.clone();
    let actions = move || {
        let id = named.clone();
        status
            .get()
            .map(|status| view! { <Actions id disabled={status == "disabled"} identity=known.identity connected=known.connected /> })
    };
    view! {
        <div class="page__head">
            <div class="page__title">
                <p class="page__sub"><a href=Route::Devices.path()>"Devices"</a></p>
                <div class="row"><h1 class="id id--title">{harmless(&id)}</h1><Copy text=id label="Copy the device id" /></div>
                <p class="row row--wrap page__sub">
                    {move || state.get().map(|state| view! { <Badge look=state.look() word=state.word().to_owned() /> })}{move || sentence()}
                </p>
            </div>
            {move || actions()}
        </div>
    }
    .into_any()
}

#[component]
fn IdentityPanel(known: Known) -> impl IntoView {
    let identity = move || {
        let Some(identity) = known.identity.get() else {
            return if known.asked.get() {
                view! { <p class="dim">"There is none now."</p> }.into_any()
            } else {
                view! { <Skeleton /> }.into_any()
            };
        };
        let owner = match &identity.managed_by {
            Some(managed) => [managed.namespace.as_deref(), managed.name.as_deref()].into_iter().flatten().collect::<Vec<_>>().join("/"),
            None => String::new(),
        };
        let tags = identity.tags.as_ref().map(|tags| tags.to_string().into_bytes());
        view! {
            <dl class="facts facts--rows">
                <Fact name="Sign-in">{authentication(&identity.authentication.r#type).to_owned()}</Fact>
                <Fact name="Status">{identity.status.clone()}</Fact>
                <Fact name="Status since">{match identity.status_updated_time { Some(since) => view! { <For since=Some(since) ago=true /> }.into_any(), None => NOTHING.into_any() }}</Fact>
                <Fact name="Reason">{identity.status_reason.as_deref().map_or_else(|| NOTHING.to_owned(), harmless)}</Fact>
                <Fact name="Managed by">{if owner.is_empty() { "nobody".into_any() } else { view! { <span class="id">{harmless(&owner)}</span> }.into_any() }}</Fact>
                <Fact name="Generation"><Id id=identity.generation_id.clone() /></Fact>
            </dl>
            {identity.hold.map(|hold| view! {
                <Notice look=DeviceState::Disabled.look() text=format!("Shut out by {}", hold.by)
                    more=hold.since.map(|since| format!("since {}, whatever its manifest says", since.absolute())).unwrap_or_default() />
            })}
            {tags.map(|tags| view! { <h3>"Tags"</h3><PayloadView content=tags /> })}
        }
        .into_any()
    };
    let reconnects = Memo::new(move |_| known.story.with(|story| story.spans().len()));
    let aside = move || view! { <span class="panel__note">{count(reconnects.get() as u64, "connection", "connections")}" known"</span> };
    view! { <Panel heading="Identity".to_owned() aside><div class="panel__body stack">{move || identity()}</div><Manifest identity=known.identity /></Panel> }.into_any()
}
