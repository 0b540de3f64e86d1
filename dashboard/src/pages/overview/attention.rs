//! What is wrong, the most urgent first. Each line leads to where something can be done.

use leptos::prelude::*;

use crate::model::format::{bytes, count, elapsed, number};
use crate::model::order::sorted;
use crate::model::payload::harmless;
use crate::model::state::{ALERT, DeviceState, Look, REFUSED, Tone, command_look};
use crate::model::time::Moment;
use crate::model::words::{disconnect_reason, refusal_reason, sentence};
use crate::parts::notice::{Empty, Skeleton};
use crate::parts::panel::Panel;
use crate::parts::sign::Glyph;
use crate::parts::when::For;
use crate::routes::Route;
use crate::world::World;

const HOUR_MS: i64 = 3_600_000;

/// Nearer to its end than this a certificate wants looking at.
const CERTIFICATE_MS: u64 = 21 * 86_400_000;

/// With less of the disk left than one part in so many, it wants looking at.
const DISK_PART: u64 = 10;

/// More refusals in an hour than this are worth a line.
const REFUSALS_MIN: u64 = 10;

#[derive(Clone, PartialEq)]
struct Item {
    look: Look,
    title: String,
    since: Option<Moment>,
    /// Whether it goes on since then.
    lasts: bool,
    why: String,
    href: String,
}

/// The smaller, the more urgent: by how bad it is, then what has begun last; what has no beginning is how things are.
fn urgency(item: &Item) -> (u8, i64) {
    (item.look.tone.urgency(), item.since.map_or(i64::MAX, |since| -since.0))
}

/// The panel.
#[component]
pub fn Attention() -> impl IntoView {
    let world: World = expect_context();
    let now = world.moment();
    let items = Memo::new(move |_| {
        let items = [
            dropped(world, now.get()),
            flapping(world),
            ended(world, now.get()),
            refused(world, now.get()),
            disk(world),
            certificate(world, now.get()),
        ]
        .into_iter()
        .flatten()
        .collect();
        sorted(items, |one, other| urgency(one).cmp(&urgency(other)))
    });
    let aside = || view! { <span class="panel__note">"most urgent first"</span> };
    let line = |item: Item| {
        view! {
            <a class="attention__item" href=item.href>
                <Glyph look=item.look />
                <span class="attention__title">{item.title}</span>
                <span class="attention__when">{item.since.map(|since| view! { {item.lasts.then_some("for ")}<For since=Some(since) ago=!item.lasts /> })}</span>
                <span class="attention__why">{item.why}</span>
            </a>
        }
    };
    view! {
        <Panel heading="Needs attention".to_owned() class="panel--fill col-4" aside>
            {move || {
                let items = items.get();
                let is_known = world.recalled.get() && world.fleet.with(|fleet| fleet.as_ref().is_some_and(|fleet| fleet.whole));
                if items.is_empty() && !is_known {
                    view! { <div class="panel__body"><Skeleton /></div> }.into_any()
                } else if items.is_empty() && world.is_stale() {
                    view! { <div class="panel__body dim">"Nothing did when the link went down."</div> }.into_any()
                } else if items.is_empty() {
                    view! { <Empty heading="All is well"><p>"Nothing has happened in the last hour that this page thinks you should look at."</p></Empty> }.into_any()
                } else {
                    view! { <div class="attention">{items.into_iter().map(line).collect_view()}</div> }.into_any()
                }
            }}
        </Panel>
    }
    .into_any()
}

fn dropped(world: World, now: Moment) -> Option<Item> {
    let drop = world.rates.with_untracked(|rates| rates.latest_drop(now))?;
    let reason = drop.reason.as_deref().map_or_else(|| "For several reasons".to_owned(), |reason| sentence(disconnect_reason(reason)));
    let within = elapsed(drop.began.millis_until(drop.ended).max(1000));
    let back =
        if drop.back >= drop.lost { "As many have come back.".to_owned() } else { format!("{} have come back since.", number(drop.back)) };
    Some(Item {
        look: if drop.back >= drop.lost { Look { tone: Tone::Mute, ..DeviceState::Offline.look() } } else { DeviceState::Offline.look() },
        title: format!("{} dropped within {within}", count(drop.lost, "device", "devices")),
        since: Some(drop.began),
        lasts: false,
        why: format!("{reason}. {back}"),
        href: format!("{}?state=offline", Route::Devices.path()),
    })
}

fn flapping(world: World) -> Option<Item> {
    let fleet = world.fleet.get()?;
    let (flapping, all) = (fleet.flapping.clone(), fleet.count(DeviceState::Flapping).max(fleet.flapping.len() as u64));
    let worst = flapping.iter().max_by_key(|device| device.connects)?;
    let often = worst.since.map(|since| format!(" since {}", since.clock())).unwrap_or_default();
    Some(Item {
        look: DeviceState::Flapping.look(),
        title: format!("{} flapping", count(all, "device is", "devices are")),
        since: flapping.iter().filter_map(|device| device.since).min(),
        lasts: true,
        why: format!("Worst: {}, {}{often}.", harmless(&worst.device_id), count(worst.connects, "connect", "connects")),
        href: if flapping.len() == 1 {
            Route::Device(worst.device_id.clone()).path()
        } else {
            format!("{}?state=flapping", Route::Devices.path())
        },
    })
}

fn ended(world: World, now: Moment) -> Option<Item> {
    let sums = world.rates.with_untracked(|rates| rates.by_reason(now.plus(-HOUR_MS), now, |sample| &sample.commands.ended));
    let of = |wanted: &str| sums.iter().find(|(step, _)| step == wanted).map_or(0, |(_, count)| *count);
    let (expired, rejected, given_up) = (of("Expired"), of("Rejected"), of("DeliveryCountExceeded"));
    let total = expired + rejected + given_up;
    let parts = [(expired, "expired"), (rejected, "rejected"), (given_up, "given up")];
    let said: Vec<_> = parts.into_iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{} {word}", number(count))).collect();
    (total > 0).then(|| Item {
        look: if expired >= rejected + given_up { command_look("Expired") } else { command_look("Rejected") },
        title: format!("{} ended without effect", count(total, "command", "commands")),
        since: None,
        lasts: false,
        why: format!("In the last hour: {}.", said.join(", ")),
        href: format!("{}?state=DeadLettered", Route::Commands.path()),
    })
}

fn refused(world: World, now: Moment) -> Option<Item> {
    let sums = world.rates.with_untracked(|rates| rates.by_reason(now.plus(-HOUR_MS), now, |sample| &sample.refusals));
    let total: u64 = sums.iter().map(|(_, count)| count).sum();
    let said: Vec<_> = sums.iter().take(3).map(|(reason, count)| format!("{} {}", number(*count), refusal_reason(reason))).collect();
    (total >= REFUSALS_MIN).then(|| Item {
        look: REFUSED,
        title: format!("{} refused in the last hour", count(total, "sign-in", "sign-ins")),
        since: None,
        lasts: false,
        why: format!("{}.", said.join(", ")),
        href: Route::Connectivity.path(),
    })
}

fn disk(world: World) -> Option<Item> {
    let storage = world.hub.with(|hub| hub.as_ref().and_then(|hub| hub.storage.clone()))?;
    let left = storage.free_bytes.zip(storage.size_bytes).filter(|(free, size)| free * DISK_PART < *size);
    (storage.full || left.is_some()).then(|| Item {
        look: ALERT,
        title: if storage.full { "The disk is full".to_owned() } else { "The disk is nearly full".to_owned() },
        since: None,
        lasts: false,
        why: left
            .map(|(free, size)| format!("{} of {} are left.", bytes(free), bytes(size)))
            .unwrap_or_else(|| "The hub takes nothing more.".to_owned()),
        href: Route::Flow.path(),
    })
}

fn certificate(world: World, now: Moment) -> Option<Item> {
    let ends = world.hub.with(|hub| hub.as_ref().and_then(|hub| hub.certificate_expiry_time))?;
    let left = now.millis_until(ends);
    (left < CERTIFICATE_MS).then(|| Item {
        look: ALERT,
        title: if left == 0 {
            "The hub's certificate has ended".to_owned()
        } else {
            format!("The hub's certificate ends in {}", elapsed(left))
        },
        since: None,
        lasts: false,
        why: format!("On {}. Devices that check it will not connect any more then.", ends.full_date()),
        href: Route::GetStarted.path(),
    })
}
