//! Overview: what is wrong, since when and why; then how the hub does, and what happens in it.

mod attention;
mod events;

use leptos::prelude::*;

use crate::browser::Place;
use crate::model::format::{NOTHING, count, elapsed, exact, number, percent};
use crate::model::state::{DeviceState, Look, Tone, command_look};
use crate::model::time::Moment;
use crate::model::words::{disconnect_reason, disconnect_tone, refusal_reason, sentence};
use crate::parts::chart::{Bars, Lines, Meter, Mirror, Spark};
use crate::parts::control::Seg;
use crate::parts::notice::{Empty, Notice};
use crate::parts::panel::{Fact, Panel};
use crate::parts::sign::{Badge, Glyph, Swatch};
use crate::parts::stat::Stat;
use crate::parts::when::{At, For, use_now};
use crate::routes::Route;
use crate::world::World;
use attention::Attention;
use events::Events;

const MINUTE_MS: i64 = 60_000;

/// Over how long the line goes: each as the address has it, in minutes, and in words.
const RANGES: [(&str, i64, &str); 4] = [("15m", 15, "15 min"), ("1h", 60, "1 h"), ("6h", 360, "6 h"), ("24h", 1440, "24 h")];

/// The page.
#[component]
pub fn Overview() -> impl IntoView {
    let world: World = expect_context();
    let place: Place = expect_context();
    let now = use_now();
    let range =
        Memo::new(move |_| place.query.with(|query| RANGES.iter().position(|(name, ..)| query.get("range") == Some(name)).unwrap_or(1)));
    let choose = Callback::new(move |index: usize| {
        let name = RANGES.get(index).map_or("", |(name, ..)| name);
        place.filter(&place.query.get_untracked().with("range", if name == "1h" { "" } else { name }));
    });
    let sub = move || {
        world.hub.with(|hub| {
            let hub = hub.as_ref()?;
            let serving = hub.started_time.map(|since| format!("serving for {} · ", elapsed(since.millis_until(now.get()))));
            Some(format!("{}{} · times in UTC", serving.unwrap_or_default(), count(hub.partitions, "partition", "partitions")))
        })
    };
    let first_run = Memo::new(move |_| world.hub.with(|hub| hub.as_ref().is_some_and(|hub| hub.devices.total == 0)));
    let choices = RANGES.iter().enumerate().map(|(index, (_, _, word))| (index, *word)).collect();
    view! {
        <div class="page__head">
            <div class="page__title"><h1>"Overview"</h1><p class="page__sub">{sub}</p></div>
            <Seg label="Range" choices chosen=range choose />
        </div>
        <div class="stack">
            {move || world.failure.get().filter(|failure| failure.status != 0).map(|failure| view! {
                <Notice look=crate::model::state::ALERT text="The hub does not say how it is".to_owned() more=failure.text />
            })}
            {move || first_run.get().then(|| view! { <FirstRun /> })}
            <div class="grid"><Connected range=Signal::derive(move || RANGES.get(range.get()).map_or(60, |(_, minutes, _)| *minutes)) /><Attention /></div>
            <Stats />
            <div class="grid">
                <Events />
                <div class="stack col-5"><Reasons /><HubPanel /></div>
            </div>
        </div>
    }
    .into_any()
}

#[component]
fn FirstRun() -> impl IntoView {
    view! {
        <section class="panel" aria-label="First steps">
            <Empty heading="This hub has no devices yet">
                <p>"Register the first one, and send a message from it in the language of your choice. Everything here fills by itself."</p>
                <p><a class="btn btn--primary" href=Route::GetStarted.path()>"Get started"</a></p>
            </Empty>
        </section>
    }
    .into_any()
}

#[component]
fn Connected(
    /// In minutes.
    #[prop(into)]
    range: Signal<i64>,
) -> impl IntoView {
    let world: World = expect_context();
    let now = use_now();
    let (reading, set_reading) = signal(None::<(Moment, f64)>);
    let counts = Memo::new(move |_| world.hub.with(|hub| hub.as_ref().map(|hub| hub.devices).unwrap_or_default()));
    let known = move || world.hub.with(Option::is_some);
    let value = move || if known() { number(counts.get().connected) } else { NOTHING.to_owned() };
    let of =
        move || known().then(|| format!("of {} · {}", number(counts.get().total), percent(counts.get().connected, counts.get().total)));
    let from = Signal::derive(move || now.get().plus(-range.get() * MINUTE_MS));
    let samples = Signal::derive(move || world.connected.with(|history| history.since(from.get(), now.get())));
    let note = Signal::derive(move || {
        let drop = world.activity.with(|activity| activity.latest_drop(now.get()).cloned())?;
        let reason = drop.reason.as_deref().map(|reason| format!(", {}", disconnect_reason(reason))).unwrap_or_default();
        Some((drop.began, format!("−{} at {}{reason}", number(drop.lost), drop.began.clock())))
    });
    let aside = move || match reading.get() {
        Some((at, value)) => {
            view! { <span class="panel__note num"><At time=at />{format!(" · {} connected", exact(value as u64))}</span> }.into_any()
        }
        None => view! { <span class="panel__note">"Since this page was opened at "<At time=world.since /></span> }.into_any(),
    };
    let connects = Signal::derive(move || world.activity.with(|activity| activity.connects.counts(now.get()).to_vec()));
    let disconnects = Signal::derive(move || world.activity.with(|activity| activity.disconnects.counts(now.get()).to_vec()));
    let total = |counts: Vec<u64>| counts.iter().sum::<u64>();
    let label = Signal::derive(move || format!("Connected devices: {} now", value()));
    let mirror_label =
        Signal::derive(move || format!("In the last hour {} connects and {} disconnects", total(connects.get()), total(disconnects.get())));
    let flapping = move || world.presence.with(|presence| presence.flapping.len() as u64);
    let legend = move |state: DeviceState, count: u64, word: &'static str| {
        let look = state.look();
        let href = format!("{}?state={}", Route::Devices.path(), state.name());
        view! {
            <a class="legend__item" href=href><Glyph look /><span><strong>{number(count)}</strong>" "{word}</span></a>
        }
    };
    let states = move || {
        let counts = counts.get();
        [
            legend(DeviceState::Offline, counts.enabled.saturating_sub(counts.connected), "not connected"),
            legend(DeviceState::Flapping, flapping(), "flapping"),
            legend(DeviceState::Disabled, counts.total.saturating_sub(counts.enabled), "disabled"),
        ]
    };
    view! {
        <Panel heading="Connected devices".to_owned() class="col-8" aside>
            <div class="panel__body stack">
                <div class="row row--wrap">
                    <p class="hero"><span class="hero__value">{value}</span><span class="hero__of">{of}</span></p>
                    <div class="legend push">{states}</div>
                </div>
                <Lines samples from to=now note reading=set_reading label />
                <div>
                    <div class="legend">
                        <span class="legend__item panel__note"><Swatch tone=Tone::Ok />"Connects / min"</span>
                        <span class="legend__item panel__note"><Swatch tone=Tone::Bad />"Disconnects / min, below the line"</span>
                        <span class="panel__note push wide-only">"last hour, square-root scale"</span>
                    </div>
                    <Mirror above=connects below=disconnects label=mirror_label />
                </div>
            </div>
        </Panel>
    }
    .into_any()
}

#[component]
fn Stats() -> impl IntoView {
    let world: World = expect_context();
    let now = use_now();
    let floats = |counts: [u64; 60]| counts.map(|count| count as f64).to_vec();
    let last_hour = move || now.get().plus(-59 * MINUTE_MS);
    // The present minute is not over: the one before it says how much a minute is.
    let per_minute = |values: &[f64]| values.iter().rev().take(2).fold(0.0, |most, value| value.max(most));
    let sent = Signal::derive(move || floats(world.activity.with(|activity| activity.steps.counts_of("Enqueued", now.get()))));
    let receipts = Signal::derive(move || floats(world.activity.with(|activity| activity.receipts.counts(now.get()))));
    let refused = Signal::derive(move || floats(world.activity.with(|activity| activity.refusals.counts(now.get()))));
    let value = move |values: Signal<Vec<f64>>| Signal::derive(move || number(per_minute(&values.get()) as u64));
    let unit = |unit: &'static str| Signal::derive(move || unit.to_owned());
    let part = |look: Look, count: u64, word: &'static str| {
        view! { <span class="stat__part"><Glyph look />{number(count)}<span class="sr">{format!(" {word}")}</span></span> }
    };
    let receipt_note = move || {
        let sums = world.activity.with(|activity| activity.receipts.by_reason(last_hour()));
        let of = |wanted: &[&str]| sums.iter().filter(|(status, _)| wanted.contains(&status.as_str())).map(|(_, count)| count).sum::<u64>();
        [
            part(command_look("Completed"), of(&["Success"]), "completed"),
            part(command_look("Expired"), of(&["Expired"]), "expired"),
            part(command_look("Rejected"), of(&["Rejected", "DeliveryCountExceeded", "Purged"]), "failed"),
        ]
    };
    let refusal_note = move || {
        let sums = world.activity.with(|activity| activity.refusals.by_reason(last_hour()));
        let said: Vec<_> = sums.iter().take(2).map(|(reason, count)| format!("{} {}", number(*count), refusal_reason(reason))).collect();
        if said.is_empty() { "none in this hour".to_owned() } else { said.join(" · ") }
    };
    let step_note = move || {
        let sums = world.activity.with(|activity| activity.steps.by_reason(last_hour()));
        let of = |wanted: &str| sums.iter().find(|(step, _)| step == wanted).map_or(0, |(_, count)| *count);
        [part(command_look("Delivered"), of("Delivered"), "delivered"), part(command_look("Completed"), of("Completed"), "completed")]
    };
    view! {
        <div class="stats">
            <Backlog />
            <Stat label="Commands sent" value=value(sent) unit=unit("/min") href=Route::Commands.path() note=ViewFn::from(step_note)
                chart=ViewFn::from(move || view! { <Spark values=sent tone=Tone::Flow ground=true label="Commands sent by minute".to_owned() /> }) />
            <Stat label="Receipts" value=value(receipts) unit=unit("/min") href=Route::Commands.path() note=ViewFn::from(receipt_note)
                chart=ViewFn::from(move || view! { <Spark values=receipts tone=Tone::Ok ground=true label="Receipts by minute".to_owned() /> }) />
            <Stat label="Sign-ins refused" value=value(refused) unit=unit("/min") href=Route::Audit.path() note=ViewFn::from(refusal_note)
                chart=ViewFn::from(move || view! { <Spark values=refused tone=Tone::Bad ground=true label="Refusals by minute".to_owned() /> }) />
            <Certificate />
        </div>
    }
    .into_any()
}

#[component]
fn Backlog() -> impl IntoView {
    let world: World = expect_context();
    let now = use_now();
    let backlog = Memo::new(move |_| world.backlog.get().unwrap_or_default());
    let total = move || backlog.get().enqueued + backlog.get().delivered;
    let value = Signal::derive(move || if backlog.get().more { format!("{}+", number(total())) } else { number(total()) });
    let unit = Signal::derive(move || match backlog.get().oldest {
        Some(oldest) => format!("oldest {}", elapsed(oldest.millis_until(now.get()))),
        None => "waiting".to_owned(),
    });
    let parts = Signal::derive(move || {
        let all = total().max(1) as f64;
        vec![(Tone::Wait, backlog.get().enqueued as f64 / all, true), (Tone::Wait, backlog.get().delivered as f64 / all, false)]
    });
    let label = Signal::derive(move || format!("{} enqueued, {} delivered", backlog.get().enqueued, backlog.get().delivered));
    let note = move || {
        view! {
            <span class="stat__part"><Glyph look=command_look("Enqueued") />{number(backlog.get().enqueued)}<span class="sr">" enqueued"</span></span>
            <span class="stat__part"><Glyph look=command_look("Delivered") />{number(backlog.get().delivered)}<span class="sr">" awaiting acknowledgement"</span></span>
        }
    };
    view! { <Stat label="Command backlog" value unit href=Route::Commands.path() note=ViewFn::from(note) chart=ViewFn::from(move || view! { <Meter parts label /> }) /> }.into_any()
}

#[component]
fn Certificate() -> impl IntoView {
    let world: World = expect_context();
    let now = use_now();
    let ends = move || world.hub.with(|hub| hub.as_ref().and_then(|hub| hub.certificate_expiry_time));
    let left = move || ends().map(|ends| now.get().millis_until(ends));
    let value = Signal::derive(move || left().map_or_else(|| NOTHING.to_owned(), elapsed));
    // Ninety days is what certificates last that renew themselves.
    let parts = Signal::derive(move || {
        let part = (left().unwrap_or_default() as f64 / (90.0 * 86_400_000.0)).min(1.0);
        vec![(if part < 0.15 { Tone::Warn } else { Tone::Ok }, part, false)]
    });
    let label = Signal::derive(move || format!("{} of 90 days are left", value.get()));
    let note = move || view! { <span>{move || ends().map(|ends| format!("until {}", ends.full_date()))}</span> };
    let unit = Signal::derive(|| "left".to_owned());
    view! { <Stat label="Certificate" value unit href=Route::GetStarted.path() note=ViewFn::from(note) chart=ViewFn::from(move || view! { <Meter parts label /> }) /> }.into_any()
}

#[component]
fn Reasons() -> impl IntoView {
    let world: World = expect_context();
    let now = use_now();
    let sums = Memo::new(move |_| world.activity.with(|activity| activity.disconnects.by_reason(now.get().plus(-59 * MINUTE_MS))));
    let rows = Signal::derive(move || {
        sums.get()
            .into_iter()
            .take(8)
            .map(|(reason, count)| (sentence(disconnect_reason(&reason)), disconnect_tone(&reason), count))
            .collect::<Vec<_>>()
    });
    let total = move || sums.with(|sums| sums.iter().map(|(_, count)| count).sum::<u64>());
    let aside = move || view! { <span class="panel__note">{format!("{} in the last hour", number(total()))}</span> };
    view! {
        <Panel heading="Why devices disconnected".to_owned() aside>
            <div class="panel__body">
                {move || if rows.with(Vec::is_empty) {
                    view! { <p class="dim">"Nobody has, since this page was opened."</p> }.into_any()
                } else {
                    view! { <Bars rows /> }.into_any()
                }}
            </div>
        </Panel>
    }
    .into_any()
}

#[component]
fn HubPanel() -> impl IntoView {
    let world: World = expect_context();
    let ready = Look { glyph: "completed", tone: Tone::Ok };
    let lost = Look { glyph: "alert", tone: Tone::Warn };
    let aside = move || match world.failure.get() {
        None => view! { <Badge look=ready word="Answers".to_owned() plain=true /> },
        Some(_) => view! { <Badge look=lost word="Does not answer".to_owned() plain=true /> },
    };
    let started = Signal::derive(move || world.hub.with(|hub| hub.as_ref().and_then(|hub| hub.started_time)));
    let text = move |say: fn(&crate::model::hub::Hub) -> String| {
        move || world.hub.with(|hub| hub.as_ref().map_or_else(|| NOTHING.to_owned(), say))
    };
    view! {
        <Panel heading="Hub".to_owned() aside>
            <div class="panel__body">
                <dl class="facts facts--rows">
                    <Fact name="Host name"><span class="id">{text(|hub| hub.host_name.clone())}</span></Fact>
                    <Fact name="Version">{text(|hub| hub.version.clone())}</Fact>
                    <Fact name="Life of its data">{text(|hub| hub.boot.clone())}</Fact>
                    <Fact name="Serving for"><For since=started /></Fact>
                    <Fact name="Devices enabled">{text(|hub| number(hub.devices.enabled))}</Fact>
                    <Fact name="Connects since it began">{move || world.presence.with(|presence| number(presence.connects_total))}</Fact>
                </dl>
            </div>
        </Panel>
    }
    .into_any()
}
