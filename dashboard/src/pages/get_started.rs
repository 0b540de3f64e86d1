//! Get started: the first device, the first message, the first command, with this hub's name filled in.

use leptos::prelude::*;

use crate::browser::Place;
use crate::model::snippets::{Language, is_device_id, shell};
use crate::model::state::{DeviceState, Look, Tone};
use crate::parts::control::{Copy, Seg};
use crate::parts::notice::Notice;
use crate::parts::panel::Panel;
use crate::parts::sign::Glyph;
use crate::routes::Route;
use crate::world::World;

/// What the snippets call the device until somebody says otherwise.
const DEVICE: &str = "my-device";

/// The page.
#[component]
pub fn GetStarted() -> impl IntoView {
    let world: World = expect_context();
    let place: Place = expect_context();
    let host = Memo::new(move |_| world.hub.with(|hub| hub.as_ref().map_or_else(|| "this-hub".to_owned(), |hub| hub.host_name.clone())));
    let language =
        Memo::new(move |_| place.query.with(|query| query.get("language").and_then(Language::named)).unwrap_or(Language::Python));
    let device = RwSignal::new(place.query.with_untracked(|query| query.get("device").unwrap_or(DEVICE).to_owned()));
    let chosen = Signal::derive(move || Language::ALL.iter().position(|found| *found == language.get()).unwrap_or_default());
    let choose = Callback::new(move |index: usize| {
        let name = Language::ALL.get(index).map_or("", |language| language.name());
        place.filter(&place.query.get_untracked().with("language", name));
    });
    let named = move || Some(device.get()).filter(|id| is_device_id(id)).unwrap_or_else(|| DEVICE.to_owned());
    // As the hub knows it; as whoever asks is shown it, if it does not.
    let known = Memo::new(move |_| world.hub.with(|hub| hub.as_ref().and_then(|hub| hub.authority.clone())));
    let authority = Signal::derive(move || match known.get() {
        Some(authority) => format!("cat > ca.pem <<'END'\n{}\nEND", authority.trim_end()),
        None => format!(
            "openssl s_client -connect {}:8883 -showcerts </dev/null 2>/dev/null |\n  awk '/BEGIN CERT/ {{ c = \"\" }} {{ c = c $0 \"\\n\" }} /END CERT/ {{ last = c }} END {{ printf \"%s\", last }}' >ca.pem",
            host.get()
        ),
    });
    let register = Signal::derive(move || {
        format!(
            "mooring-hub device create {0}\nexport DEVICE_CONNECTION_STRING=$(mooring-hub device connection-string {0})",
            shell(&named())
        )
    });
    let trust = Signal::derive(move || format!("# {}\n{}", language.get().install(), language.get().trust()));
    let program = Signal::derive(move || language.get().program(&host.get(), &named()));
    let send = Signal::derive(move || format!("mooring-hub command send {} '{{\"open\": true}}' --ack full --wait", shell(&named())));
    let choices = Language::ALL.map(Language::word).to_vec();
    let aside = move || view! { <Seg label="Language" choices=choices.clone() chosen choose /> };
    let java = move || language.get() == Language::Java && !host.with(|host| host.contains('.'));
    view! {
        <div class="page__head">
            <div class="page__title"><h1>"Get started"</h1><p class="page__sub">"From nothing to a command that a device has acknowledged"</p></div>
        </div>
        <div class="grid">
            <div class="stack col-8">
                <Step number=1 title="Register a device">
                    <label class="field"><span class="field__label">"Its id"</span><input class="input input--mono" autocomplete="off" spellcheck="false" maxlength="128" aria-invalid=move || (!is_device_id(&device.get())).to_string() bind:value=device /><span class="field__hint">"Letters, digits and "<code>"- . + % _ # * ? ! ( ) , : ; = @ $ '"</code></span></label>
                    <Code text=register label="Copy the commands" />
                    <p class="field__hint">"The connection string has the device's key: it stays in your shell. With Kubernetes, apply a Device and take the string from its Secret."</p>
                </Step>
                <Step number=2 title="Trust the hub">
                    <p>"The hub's authority, as the hub shows it itself. Where it is laid out for you, take it from there: " <code>"mooring-hub dev"</code>" prints its path; with Kubernetes it is in the Secret that the hub's IotHub names."</p>
                    <Code text=authority label="Copy the command" />
                    <Code text=trust label="Copy the commands" />
                </Step>
                <Panel heading="3 · Send a message, hear commands".to_owned() aside>
                    <div class="panel__body stack">
                        {move || java().then(|| view! { <Notice look=Look { glyph: "alert", tone: Tone::Warn } text="Java's SDK wants a host name with a dot in it".to_owned() more="Give this hub one, such as hub.localhost.".to_owned() /> })}
                        <Code text=program label="Copy the program" />
                    </div>
                </Panel>
                <Step number=4 title="Send it a command">
                    <Code text=send label="Copy the command" />
                    <p class="field__hint">"Or "<a href=move || Route::Device(named()).path()>"on its page"</a>", where its connections and every step of its commands are to be seen."</p>
                </Step>
            </div>
            <div class="stack col-4"><Seen /><Addresses host /></div>
        </div>
    }
    .into_any()
}

#[component]
fn Step(number: u8, title: &'static str, children: Children) -> impl IntoView {
    view! { <Panel heading=format!("{number} · {title}")><div class="panel__body stack">{children()}</div></Panel> }.into_any()
}

#[component]
fn Code(#[prop(into)] text: Signal<String>, label: &'static str) -> impl IntoView {
    view! { <div class="snippet"><pre class="code" tabindex="0">{move || text.get()}</pre><span class="snippet__copy"><Copy text label /></span></div> }.into_any()
}

/// What the hub has seen of it already.
#[component]
fn Seen() -> impl IntoView {
    let world: World = expect_context();
    let done = move |is: bool| if is { Look { glyph: "completed", tone: Tone::Ok } } else { DeviceState::Never.look() };
    let now = world.moment();
    let counts =
        Memo::new(move |_| world.fleet.with(|fleet| fleet.as_ref().map(|fleet| (fleet.total, fleet.connected)).unwrap_or_default()));
    let completed = Memo::new(move |_| {
        let day_ago = now.get().plus(-86_400_000);
        world
            .rates
            .with_untracked(|rates| rates.since(day_ago, now.get()).any(|(_, sample)| sample.commands.ended.get("Completed").is_some()))
    });
    let line = move |is: Signal<bool>, text: &'static str| {
        view! { <li class="row"><Glyph look=Signal::derive(move || done(is.get())) /><span>{text}</span><span class="sr">{move || if is.get() { "done" } else { "not yet" }}</span></li> }
    };
    view! {
        <Panel heading="So far".to_owned()>
            <ul class="panel__body stack stack--close">
                {line(Signal::derive(move || counts.get().0 > 0), "A device is registered")}
                {line(Signal::derive(move || counts.get().1 > 0), "A device is connected")}
                {line(completed.into(), "A command was completed, in the last day")}
            </ul>
        </Panel>
    }
    .into_any()
}

#[component]
fn Addresses(host: Memo<String>) -> impl IntoView {
    let rows = [("MQTT", "", ":8883"), ("AMQP", "", ":5671"), ("HTTPS, WebSocket", "https://", ""), ("Mooring's API", "https://", ":8443")];
    let row = move |(what, before, after): (&'static str, &'static str, &'static str)| {
        view! { <div class="facts__item"><dt>{what}</dt><dd class="id">{before}{move || host.get()}<wbr />{after}</dd></div> }
    };
    view! { <Panel heading="Addresses".to_owned()><div class="panel__body"><dl class="facts facts--rows">{rows.map(row)}</dl></div></Panel> }.into_any()
}
