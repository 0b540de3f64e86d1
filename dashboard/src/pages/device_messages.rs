//! What one device sends: its last messages, and each as it comes.

use std::sync::Arc;

use leptos::prelude::*;
use leptos::task::spawn_local;

use super::flow::{Following, Inspector, PauseButton, Tail};
use crate::api::get;
use crate::app::Who;
use crate::browser::now;
use crate::link::ask::Tail as Wanted;
use crate::model::event::{Event, Minutes, Rows};
use crate::model::format::number;
use crate::model::state::DeviceState;
use crate::parts::notice::Notice;
use crate::routes::{Query, Route, segment};
use crate::world::World;

/// How far back it begins: the hub goes through what all devices have sent since, and has counted what came before.
const BACK_MS: i64 = 60_000;

/// What a device sends, from a few minutes ago.
pub fn follow(id: &str, world: World) -> Following {
    let wanted = Wanted { device: id.to_owned(), from: format!("time:{}", now().plus(-BACK_MS).iso()), ..Wanted::default() };
    let following = Following::begin(world, Memo::new(move |_| wanted.clone()));
    let path = format!("/devices/{}/rates", segment(id));
    Effect::new(move |_| {
        world.missed.track();
        let path = path.clone();
        spawn_local(async move {
            if let Ok(minutes) = get::<Minutes>(&path).await {
                let _ = following.counts.try_update(|counts| counts.recall(minutes));
            }
        });
    });
    following
}

/// The panel.
#[component]
pub fn Messages(id: String, following: Following) -> impl IntoView {
    let who: Who = expect_context();
    let world: World = expect_context();
    let bodies = who.may("Bodies");
    let chosen = RwSignal::new(None::<Arc<Event>>);
    let filter = ["device:".to_owned(), id].concat();
    let all = Query::default().with("filter", filter).with("from", "earliest");
    let all = format!("{}{}", Route::Flow.path(), all.text());
    let present = world.moment();
    let rate = move || match following.paused.get() {
        true => "paused".to_owned(),
        false if following.rows.with(Rows::is_behind) => "reading what came before".to_owned(),
        false => format!("{}/min", number(following.counts.with(|counts| counts.last_minute(present.get())))),
    };
    view! {
        <section class="panel" aria-label="Messages">
            <div class="panel__head panel__head--ruled">
                <h2>"Messages"</h2><span class="panel__note">{move || rate()}</span><a class="btn btn--quiet btn--small" href=all>"All of them"</a><PauseButton following />
            </div>
            {(!bodies).then(|| view! { <Notice look=DeviceState::Disabled.look() text="Your account may see that messages come, and not what they say".to_owned() /> })}
            <Tail following chosen own=true />
            {move || chosen.with(Option::is_some).then(|| view! { <Inspector chosen /> })}
        </section>
    }
    .into_any()
}
