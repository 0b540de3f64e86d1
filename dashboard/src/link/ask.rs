//! What this page asks the live link for (docs/live.md): each a subscription with a number, made once more on every new socket.

use serde_json::{Map, Value};

/// A subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// What happens: the change stream.
    Changes {
        /// With commas.
        kinds: &'static str,
        /// Only of this device.
        device: Option<String>,
        /// Whether how things stand is told first.
        snapshot: bool,
    },
    /// How much of everything there is a second.
    Rates,
    /// How many devices are how.
    Fleet,
    /// Where readers are.
    Groups,
    /// What devices send.
    Events(Tail),
}

/// Which events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tail {
    /// `latest`, `earliest`, `sequence:N`, `time:…`; empty is `latest`.
    pub from: String,
    /// Only of this partition.
    pub partition: Option<u64>,
    /// Only of this device.
    pub device: String,
    /// Only with this property: `name` or `name=value`.
    pub property: String,
    /// Only with this in the payload.
    pub text: String,
}

impl Ask {
    /// As the hub is asked, to go on behind a position if there is one.
    #[must_use]
    pub fn request(&self, id: u32, position: Option<&str>) -> String {
        let mut request = Map::new();
        let mut say = |name: &str, value: Value| _ = request.insert(name.to_owned(), value);
        let text = |text: &str| (!text.is_empty()).then(|| Value::from(text));
        say("id", id.into());
        match self {
            Self::Changes { kinds, device, snapshot } => {
                say("subscribe", "changes".into());
                say("kinds", (*kinds).into());
                device.iter().for_each(|device| say("device", device.as_str().into()));
                position.into_iter().for_each(|position| say("from", position.into()));
                // Who wants to know how things stand is told if the position is too old: that is what saying nothing means.
                if !snapshot || position.is_none() {
                    say("snapshot", (*snapshot).into());
                }
            }
            Self::Rates => say("subscribe", "rates".into()),
            Self::Fleet => say("subscribe", "fleet".into()),
            Self::Groups => say("subscribe", "groups".into()),
            Self::Events(tail) => {
                say("subscribe", "events".into());
                let words = [("from", &tail.from), ("device", &tail.device), ("property", &tail.property), ("text", &tail.text)];
                words.into_iter().filter_map(|(name, word)| Some((name, text(word)?))).for_each(|(name, word)| say(name, word));
                tail.partition.into_iter().for_each(|partition| say("partition", partition.into()));
                position.into_iter().for_each(|position| say("after", position.into()));
            }
        }
        Value::Object(request).to_string()
    }
}

/// Of which subscription a message is. It stands first; what the message tells of may have an `id` of its own.
#[must_use]
pub fn subscription_of(text: &str) -> Option<u32> {
    text.strip_prefix("{\"id\":")?.split([',', '}']).next()?.trim().parse().ok()
}

/// That no more of a subscription is wanted.
#[must_use]
pub fn unsubscribe(id: u32) -> String {
    format!(r#"{{"id":{id},"unsubscribe":true}}"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(ask: &Ask, position: Option<&str>) -> Value {
        serde_json::from_str(&ask.request(7, position)).unwrap()
    }

    #[test]
    fn changes_go_on_where_they_were() {
        let world = Ask::Changes { kinds: "presence", device: None, snapshot: false };
        assert_eq!(said(&world, None), serde_json::json!({"id":7,"subscribe":"changes","kinds":"presence","snapshot":false}));
        assert_eq!(said(&world, Some("3-1"))["from"], "3-1");
        let device = Ask::Changes { kinds: "presence", device: Some("d".to_owned()), snapshot: true };
        assert_eq!(said(&device, None)["snapshot"], true);
        assert_eq!(said(&device, Some("3-1")).get("snapshot"), None, "unless it has to");
    }

    #[test]
    fn a_message_says_first_whose_it_is() {
        let of = ["{\"id\":7,\"kind\":\"audit\",\"id\":\"188\"}", "{\"id\":0}", "{\"kind\":\"x\",\"id\":7}", "[]"].map(subscription_of);
        assert_eq!(of, [Some(7), Some(0), None, None]);
    }

    #[test]
    fn a_tail_says_only_what_it_filters_by() {
        assert_eq!(said(&Ask::Events(Tail::default()), None), serde_json::json!({"id":7,"subscribe":"events"}));
        let tail = Tail { text: "a\"b".to_owned(), partition: Some(0), ..Tail::default() };
        let wanted = serde_json::json!({"id":7,"subscribe":"events","text":"a\"b","partition":0,"after":"0:1"});
        assert_eq!(said(&Ask::Events(tail), Some("0:1")), wanted);
        assert_eq!(unsubscribe(7), r#"{"id":7,"unsubscribe":true}"#);
    }
}
