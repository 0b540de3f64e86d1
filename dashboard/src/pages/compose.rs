//! A command to one device.

use leptos::prelude::*;
use leptos::task::spawn_local;

use super::message::Message;
use crate::app::Who;
use crate::model::state::command_look;
use crate::parts::panel::Panel;
use crate::parts::sign::Icon;
use crate::parts::toast::Toasts;

/// The form.
#[component]
pub fn Compose(
    /// To whom.
    id: String,
    /// Whether it is there.
    #[prop(into)]
    connected: Signal<bool>,
    /// How many wait for it already.
    #[prop(into)]
    pending: Signal<usize>,
) -> impl IntoView {
    let who: Who = expect_context();
    let toasts: Toasts = expect_context();
    let message = Message::new();
    let busy = RwSignal::new(false);
    let may = Memo::new(move |_| who.may("Commands"));
    let send = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        if busy.get_untracked() {
            return;
        }
        busy.set(true);
        let id = id.clone();
        let request = message.request();
        spawn_local(async move {
            match request.send(&id).await {
                Ok(command) => {
                    let more = if connected.try_get_untracked() == Some(true) {
                        "It is on its way: the timeline shows each step."
                    } else {
                        "The device is away. It is delivered when the device is back."
                    };
                    toasts.say(command_look("Enqueued"), format!("{} queued", command.name()), more);
                }
                Err(failure) => toasts.failed("The command was not taken", failure.text),
            }
            let _ = busy.try_set(false);
        });
    };
    let aside = move || view! { <span class="panel__note">{move || format!("{} queued", pending.get())}</span> };
    let hint = move || match (may.get(), connected.get()) {
        (false, _) => "Your account may look, and may not send.",
        (true, true) => "Connected: it goes out at once.",
        (true, false) => "Not connected: it waits.",
    };
    view! {
        <Panel heading="Send a command".to_owned() aside>
            <form class="panel__body form" on:submit=send>
                {message.fields()}
                <div class="form__end">
                    <span class="field__hint">{move || hint()}</span>
                    <button class="btn btn--primary" type="submit" aria-busy=move || busy.get().to_string() disabled=move || !may.get() || !message.can_be_sent()>
                        <Icon name="commands" />{move || if connected.get() { "Send command" } else { "Queue command" }}
                    </button>
                </div>
            </form>
        </Panel>
    }
    .into_any()
}
