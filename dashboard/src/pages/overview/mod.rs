//! Overview: what is wrong, since when and why; then how the hub does, and what happens in it.

mod attention;
mod events;

use leptos::prelude::*;

use crate::browser::Place;
use crate::model::format::{NOTHING, bytes, count, elapsed, exact, number, percent};
use crate::model::hub::{Fleet, Hub, Storage};
use crate::model::rates::{ByReason, Sample};
use crate::model::state::{DeviceState, Look, Tone, command_look};
use crate::model::time::Moment;
use crate::model::words::{disconnect_reason, disconnect_tone, refusal_reason, sentence};
use crate::parts::chart::{Bars, Lines, Meter, Mirror, Spark};
use crate::parts::control::Seg;
use crate::parts::figures::Figures;
use crate::parts::notice::{Empty, Notice, Skeleton};
use crate::parts::panel::{Fact, Panel};
use crate::parts::sign::{Badge, Glyph, Swatch};
use crate::parts::stat::Stat;
use crate::parts::when::At;
use crate::routes::Route;
use crate::world::World;
use attention::Attention;
use events::Events;

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;

/// Bars of connects and disconnects, whatever the range.
const BARS: usize = 60;

/// Rows of the table that says the same.
const FIGURES: usize = 12;

/// Over how long the line goes: each as the address has it, in minutes, and in words.
const RANGES: [(&str, i64, &str); 4] = [("15m", 15, "15 min"), ("1h", 60, "1 h"), ("6h", 360, "6 h"), ("24h", 1440, "24 h")];

/// The page.
#[component]
pub fn Overview() -> impl IntoView {
    let world: World = expect_context();
    let place: Place = expect_context();
    let now = world.moment();
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
    let first_run = Memo::new(move |_| world.fleet.with(|fleet| fleet.as_ref().is_some_and(|fleet| fleet.whole && fleet.total == 0)));
    let choices = RANGES.iter().map(|(_, _, word)| *word).collect();
    view! {
        <div class="page__head">
            <div class="page__title"><h1>"Overview"</h1><p class="page__sub">{move || sub()}</p></div>
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
    let now = world.moment();
    let (reading, set_reading) = signal(None::<(Moment, f64)>);
    let fleet = Memo::new(move |_| world.fleet.get());
    let value = move || fleet.with(|fleet| fleet.as_ref().map_or_else(|| NOTHING.to_owned(), |fleet| number(fleet.connected)));
    let of = move || {
        let text =
            |fleet: &Fleet| format!("of {} · {}{}", number(fleet.total), percent(fleet.connected, fleet.total), fleet.of_them_flapping());
        fleet.with(|fleet| fleet.as_ref().map(text))
    };
    let from = Signal::derive(move || now.get().plus(-range.get() * MINUTE_MS));
    let samples = Signal::derive(move || {
        let (from, now) = (from.get(), now.get());
        world.rates.with_untracked(|rates| rates.since(from, now).map(|(at, sample)| (*at, sample.connected as f64)).collect::<Vec<_>>())
    });
    let note = Signal::derive(move || {
        let drop = world.rates.with_untracked(|rates| rates.latest_drop(now.get()))?;
        let reason = drop.reason.as_deref().map(|reason| format!(", {}", disconnect_reason(reason))).unwrap_or_default();
        Some((drop.began, format!("−{} at {}{reason}", number(drop.lost), drop.began.clock())))
    });
    let aside = move || match reading.get() {
        Some((at, value)) => {
            view! { <span class="panel__note num"><At time=at />{format!(" · {} connected", exact(value as u64))}</span> }.into_any()
        }
        None => {
            let step = if range.get() <= 15 { "every second" } else { "every 20 s" };
            let word = RANGES.iter().find(|(_, minutes, _)| *minutes == range.get()).map_or("", |(_, _, word)| word);
            view! { <span class="panel__note">{format!("Last {word}, {step}")}</span> }.into_any()
        }
    };
    let sums = move |say: fn(&Sample) -> u64| {
        Signal::derive(move || world.rates.with_untracked(|rates| rates.sums(from.get(), now.get(), BARS, say)))
    };
    let (connects, disconnects) = (sums(|sample| sample.connects), sums(Sample::disconnected));
    let total = |counts: Vec<u64>| counts.iter().sum::<u64>();
    let label = Signal::derive(move || format!("Connected devices: {} now", value()));
    let mirror_label = Signal::derive(move || format!("{} connects and {} disconnects", total(connects.get()), total(disconnects.get())));
    let legend = move |state: DeviceState, word: &'static str| {
        let href = format!("{}?state={}", Route::Devices.path(), state.name());
        let count = move || fleet.with(|fleet| fleet.as_ref().map_or_else(|| NOTHING.to_owned(), |fleet| number(fleet.count(state))));
        view! { <a class="legend__item" href=href><Glyph look=state.look() /><span><strong>{move || count()}</strong>" "{word}</span></a> }
    };
    let states = [
        legend(DeviceState::Offline, "offline"),
        legend(DeviceState::Never, "never seen"),
        legend(DeviceState::Flapping, "flapping"),
        legend(DeviceState::Disabled, "disabled"),
    ];
    let figures = Callback::new(move |()| {
        let (from, now) = (from.get_untracked(), now.get_untracked());
        let of = |say: fn(&Sample) -> u64| world.rates.with_untracked(|rates| rates.stretches(from, now, FIGURES, say));
        let (there, came, left) = (of(|sample| sample.connected), of(|sample| sample.connects), of(Sample::disconnected));
        let step = from.millis_until(now) as i64 / FIGURES as i64;
        let row = |index: usize| {
            let at = |sums: &[(u64, u64)]| sums.get(index).filter(|(_, samples)| *samples > 0).copied();
            let sum = |sums: &[(u64, u64)]| at(sums).map_or_else(|| NOTHING.to_owned(), |(sum, _)| exact(sum));
            let average = at(&there).map_or_else(|| NOTHING.to_owned(), |(sum, samples)| exact(sum / samples));
            vec![from.plus(step * index as i64).clock(), average, sum(&came), sum(&left)]
        };
        (0..FIGURES).map(row).collect::<Vec<_>>()
    });
    let per = move || elapsed(range.get() as u64 * 60_000 / BARS as u64);
    view! {
        <Panel heading="Connected devices".to_owned() class="col-8" aside>
            <div class="panel__body stack">
                <div class="row row--wrap">
                    <p class="hero"><span class="hero__value">{move || value()}</span><span class="hero__of">{move || of()}</span></p>
                    <div class="legend push">{states}</div>
                </div>
                <Lines samples from to=now note reading=set_reading label />
                <div>
                    <div class="legend">
                        <span class="legend__item panel__note"><Swatch tone=Tone::Ok />{move || format!("Connects / {}", per())}</span>
                        <span class="legend__item panel__note"><Swatch tone=Tone::Bad />"Disconnects, below the line"</span>
                        <span class="panel__note push">"square-root scale"</span>
                    </div>
                    <Mirror above=connects below=disconnects label=mirror_label />
                </div>
                <Figures head=vec!["From, UTC", "Connected", "Connects", "Disconnects"] rows=figures />
            </div>
        </Panel>
    }
    .into_any()
}

/// Of the sparklines: the last quarter of an hour, in stretches of so many seconds.
const SPARK_MS: i64 = 15 * MINUTE_MS;
const SPARKS: usize = 60;

#[component]
fn Stats() -> impl IntoView {
    let world: World = expect_context();
    let now = world.moment();
    // Per second within each stretch.
    let went = move |say: fn(&Sample) -> u64| {
        Signal::derive(move || {
            let stretches = world.rates.with_untracked(|rates| rates.stretches(now.get().plus(-SPARK_MS), now.get(), SPARKS, say));
            // Of a time without samples nothing is known: 0 / 0 is no number.
            stretches.into_iter().map(|(sum, samples)| sum as f64 / samples as f64).collect::<Vec<_>>()
        })
    };
    let last = move |say: fn(&Sample) -> u64| Memo::new(move |_| world.rates.with(|rates| say(rates.latest())));
    let minute = move |say: fn(&Sample) -> u64| {
        Memo::new(move |_| {
            // The newest whole second ends up to a second ago.
            world.rates.with_untracked(|rates| rates.sums(now.get().plus(-MINUTE_MS - 1_000), now.get(), 1, say).into_iter().sum::<u64>())
        })
    };
    let by = move |span_ms: i64, say: fn(&Sample) -> &ByReason| {
        Memo::new(move |_| world.rates.with_untracked(|rates| rates.by_reason(now.get().plus(-span_ms), now.get(), say)))
    };
    let unit = |unit: &'static str| Signal::derive(move || unit.to_owned());
    let text = |value: Memo<u64>| Signal::derive(move || number(value.get()));
    let per_second = |value: Memo<u64>| move || format!("{}/s", bytes(value.get()));
    let part = |look: Look, count: u64, word: &'static str| {
        view! { <span class="stat__part"><Glyph look />{number(count)}<span class="sr">{format!(" {word}")}</span></span> }
    };
    let (events, sent) = (last(|sample| sample.events.messages), last(|sample| sample.commands.delivered));
    let events_note = per_second(last(|sample| sample.events.bytes));
    let taken = last(|sample| sample.commands.enqueued);
    let sent_note = move || format!("{}/s taken in", number(taken.get()));
    let made = by(MINUTE_MS + 1_000, |sample| &sample.receipts.made);
    let receipt_note = move || {
        let of = |wanted: &[&str]| {
            made.with(|made| made.iter().filter(|(outcome, _)| wanted.contains(&outcome.as_str())).map(|(_, count)| count).sum::<u64>())
        };
        let (completed, expired) = (of(&["Completed"]), of(&["Expired"]));
        let rest = made.with(|made| made.iter().map(|(_, count)| count).sum::<u64>()) - completed - expired;
        [
            part(command_look("Completed"), completed, "completed"),
            part(command_look("Expired"), expired, "expired"),
            part(command_look("Rejected"), rest, "failed"),
        ]
    };
    let refusals = by(HOUR_MS, |sample| &sample.refusals);
    let refusal_note = move || {
        let said: Vec<_> = refusals
            .with(|sums| sums.iter().take(2).map(|(reason, count)| format!("{} {}", number(*count), refusal_reason(reason))).collect());
        match said.is_empty() {
            true if world.recalled.get() => "none in this hour".to_owned(),
            true => NOTHING.to_owned(),
            false => format!("{} in 1 h", said.join(" · ")),
        }
    };
    let throttled = last(|sample| sample.throttled);
    // What is rarely there at all stands on the ground; what is always there shows how it varies.
    let spark = move |values: Signal<Vec<f64>>, tone: Tone, label: &'static str| {
        ViewFn::from(move || view! { <Spark values tone ground={matches!(tone, Tone::Bad | Tone::Warn)} label=label.to_owned() /> })
    };
    let (flow, commands) = (Route::Flow.path(), Route::Commands.path());
    view! {
        <div class="stats">
            <Stat label="Telemetry in" value=text(events) unit=unit("msg/s") href=flow note=ViewFn::from(events_note)
                chart=spark(went(|sample| sample.events.messages), Tone::Flow, "Messages in, over 15 minutes") />
            <Stat label="Commands out" value=text(sent) unit=unit("/s") href=commands.clone() note=ViewFn::from(sent_note)
                chart=spark(went(|sample| sample.commands.delivered), Tone::Flow, "Commands out, over 15 minutes") />
            <Backlog />
            <Stat label="Receipts" value=text(minute(|sample| sample.receipts.made.values().sum())) unit=unit("/min") href=commands note=ViewFn::from(receipt_note)
                chart=spark(went(|sample| sample.receipts.made.values().sum()), Tone::Ok, "Receipts, over 15 minutes") />
            <Stat label="Sign-ins refused" value=text(minute(|sample| sample.refusals.values().sum())) unit=unit("/min") href=Route::Connectivity.path() note=ViewFn::from(refusal_note)
                chart=spark(went(|sample| sample.refusals.values().sum()), Tone::Bad, "Refusals, over 15 minutes") />
            <Stat label="Throttled" value=text(throttled) unit=unit("/s") href=Route::Connectivity.path() note=ViewFn::from(|| "turned away")
                chart=spark(went(|sample| sample.throttled), Tone::Warn, "What was throttled, over 15 minutes") />
        </div>
    }
    .into_any()
}

#[component]
fn Backlog() -> impl IntoView {
    let world: World = expect_context();
    let now = world.moment();
    let backlog = Memo::new(move |_| world.rates.with(|rates| rates.latest().backlog));
    let total = move || backlog.get().enqueued + backlog.get().delivered;
    let value = Signal::derive(move || number(total()));
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
fn Reasons() -> impl IntoView {
    let world: World = expect_context();
    let now = world.moment();
    let sums = Memo::new(move |_| {
        world.rates.with_untracked(|rates| rates.by_reason(now.get().plus(-HOUR_MS), now.get(), |sample| &sample.disconnects))
    });
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
                {move || if !world.recalled.get() {
                    view! { <Skeleton /> }.into_any()
                } else if rows.with(Vec::is_empty) {
                    view! { <p class="dim">"Nobody has, in the last hour."</p> }.into_any()
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
    let now = world.moment();
    let ready = Look { glyph: "completed", tone: Tone::Ok };
    let lost = Look { glyph: "alert", tone: Tone::Warn };
    let lost_since = move || {
        let since = world.status.with(|status| status.down_since);
        since.map_or_else(|| "Does not answer".to_owned(), |since| format!("No answer since {}", since.clock()))
    };
    let is_known = Memo::new(move |_| world.hub.with(Option::is_some) || world.failure.with(Option::is_some));
    let is_ready = Memo::new(move |_| !world.is_stale() && world.failure.with(Option::is_none));
    let aside = move || match (is_known.get(), is_ready.get()) {
        (true, true) => view! { <Badge look=ready word="Ready".to_owned() plain=true /> }.into_any(),
        (true, false) => view! { <Badge look=lost word=Signal::derive(lost_since) plain=true /> }.into_any(),
        (false, _) => ().into_any(),
    };
    let text = move |say: fn(&Hub, Moment) -> String| {
        move || world.hub.with(|hub| hub.as_ref().map_or_else(|| NOTHING.to_owned(), |hub| say(hub, now.get())))
    };
    let certificate = |hub: &Hub, now: Moment| match hub.certificate_expiry_time {
        Some(ends) if ends <= now => format!("ended on {}", ends.full_date()),
        Some(ends) => format!("ends in {}", elapsed(now.millis_until(ends))),
        None => NOTHING.to_owned(),
    };
    let disk = |hub: &Hub, _: Moment| match hub.storage.as_ref() {
        Some(Storage { full: true, .. }) => "full: nothing more is taken".to_owned(),
        Some(Storage { free_bytes: Some(free), size_bytes: Some(size), .. }) => format!("{} of {} free", bytes(*free), bytes(*size)),
        _ => NOTHING.to_owned(),
    };
    let events = |hub: &Hub, now: Moment| {
        let storage = hub.storage.clone().unwrap_or_default();
        let kept = storage.oldest_event_time.map(|oldest| elapsed(oldest.millis_until(now)));
        let of = storage.retention_seconds.map(|seconds| format!(" of {}", elapsed(seconds * 1000)));
        let large = storage.events_bytes.map(|size| format!(", {}", bytes(size)));
        kept.map_or_else(|| NOTHING.to_owned(), |kept| [Some(kept), of, large].into_iter().flatten().collect())
    };
    view! {
        <Panel heading="Hub".to_owned() aside>
            <div class="panel__body">
                <dl class="facts facts--rows">
                    <Fact name="Host name"><span class="id">{text(|hub, _| hub.host_name.clone())}</span></Fact>
                    <Fact name="Version">{text(|hub, _| hub.version.clone())}</Fact>
                    <Fact name="Serving for">{text(|hub, now| hub.started_time.map_or_else(|| NOTHING.to_owned(), |since| elapsed(since.millis_until(now))))}</Fact>
                    <Fact name="Certificate">{text(certificate)}</Fact>
                    <Fact name="Disk">{text(disk)}</Fact>
                    <Fact name="Events kept">{text(events)}</Fact>
                </dl>
            </div>
        </Panel>
    }
    .into_any()
}
