//! What this page asks the live link for (docs/live.md): each a subscription with a number, made once more on every new socket.

use crate::model::json::value::Value;

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
        let mut request = vec![("id", Value::from(u64::from(id)))];
        let subscribe = |kind: &str| ("subscribe", kind.into());
        match self {
            Self::Changes { kinds, device, snapshot } => {
                request.extend([subscribe("changes"), ("kinds", (*kinds).into())]);
                request.extend(device.iter().map(|device| ("device", device.as_str().into())));
                request.extend(position.map(|position| ("from", position.into())));
                // Who wants to know how things stand is told if the position is too old: that is what saying nothing means.
                if !snapshot || position.is_none() {
                    request.push(("snapshot", (*snapshot).into()));
                }
            }
            Self::Rates => request.push(subscribe("rates")),
            Self::Fleet => request.push(subscribe("fleet")),
            Self::Groups => request.push(subscribe("groups")),
            Self::Events(tail) => {
                request.push(subscribe("events"));
                let words = [("from", &tail.from), ("device", &tail.device), ("property", &tail.property), ("text", &tail.text)];
                request.extend(words.into_iter().filter(|(_, word)| !word.is_empty()).map(|(name, word)| (name, word.as_str().into())));
                request.extend(tail.partition.map(|partition| ("partition", partition.into())));
                request.extend(position.map(|position| ("after", position.into())));
            }
        }
        Value::object(request).to_string()
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

    fn said(ask: &Ask, position: Option<&str>) -> serde_json::Value {
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
