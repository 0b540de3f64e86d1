//! What a browser says on its live link.

use serde::Deserialize;
use serde_json::Value;

use crate::core::change::{ChangeKind, ChangePosition};
use crate::core::device_id::DeviceId;
use crate::core::event::StreamPosition;
use crate::ops::watch_changes::{Devices, Start};

/// What a subscription is called: the browser's choice. 0 is the link itself.
pub type SubscriptionId = u32;

/// What is wanted.
#[derive(Debug)]
pub enum Request {
    /// To be told this from now on.
    Subscribe(Wanted),
    /// No more of it.
    Unsubscribe,
}

/// What somebody wants to be told.
#[derive(Debug)]
pub enum Wanted {
    /// What happens; `None`: of every kind that may be seen.
    Changes(Option<Vec<ChangeKind>>, Devices, Start),
    /// How fast things happen.
    Rates,
    /// How the fleet stands.
    Fleet,
    /// How the consumer groups stand.
    Groups,
    /// What devices send.
    Events(Box<WantedEvents>),
}

/// What somebody wants to be shown of the events, in words that nobody has understood yet.
#[derive(Debug, Default)]
pub struct WantedEvents {
    /// Where to begin, as `GET /api/v1/events` has it.
    pub from: Option<String>,
    /// Where an earlier tail left off.
    pub after: Option<StreamPosition>,
    /// Of this partition alone.
    pub partition: Option<u16>,
    /// Of this device alone.
    pub device: Option<DeviceId>,
    /// With this property: `name`, or `name=value`.
    pub property: Option<String>,
    /// With this in the payload.
    pub text: Option<String>,
}

/// What a browser said can't be done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// Not of the form of a request at all: nobody knows which subscription it is about.
    #[error("a request is a JSON object with an id from 1 to 4294967295, and subscribe or unsubscribe")]
    Unreadable,
    /// This subscription can't be.
    #[error("{1}")]
    Invalid(SubscriptionId, String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    subscribe: Option<String>,
    #[serde(default)]
    unsubscribe: bool,
    kinds: Option<String>,
    device: Option<String>,
    device_prefix: Option<String>,
    from: Option<String>,
    snapshot: Option<bool>,
    after: Option<String>,
    partition: Option<u16>,
    property: Option<String>,
    text: Option<String>,
}

/// Reads a request.
pub fn parse(text: &str) -> Result<(SubscriptionId, Request), RequestError> {
    let value: Value = serde_json::from_str(text).map_err(|_| RequestError::Unreadable)?;
    let id = value["id"].as_u64().and_then(|id| u32::try_from(id).ok()).filter(|id| *id > 0).ok_or(RequestError::Unreadable)?;
    let invalid = |why: String| RequestError::Invalid(id, why);
    let document: Document = serde_json::from_value(value).map_err(|error| invalid(format!("the request can't be read: {error}")))?;
    Ok((id, document.request().map_err(invalid)?))
}

impl Document {
    fn request(self) -> Result<Request, String> {
        let wanted = match (self.subscribe.as_deref(), self.unsubscribe) {
            (None, true) => return Ok(Request::Unsubscribe),
            (Some("changes"), false) => self.changes()?,
            (Some("rates"), false) => Wanted::Rates,
            (Some("fleet"), false) => Wanted::Fleet,
            (Some("groups"), false) => Wanted::Groups,
            (Some("events"), false) => Wanted::Events(Box::new(self.events()?)),
            (Some(other), false) => return Err(format!("{other:?} can't be subscribed to, but changes, rates, fleet, groups and events")),
            (None, false) | (Some(_), true) => return Err("either subscribe or unsubscribe".to_owned()),
        };
        Ok(Request::Subscribe(wanted))
    }

    fn changes(&self) -> Result<Wanted, String> {
        let kinds = self.kinds.as_deref().filter(|kinds| !kinds.trim().is_empty());
        let kind = |word: &str| word.trim().parse::<ChangeKind>().map_err(|unknown| unknown.to_string());
        let kinds = kinds.map(|kinds| kinds.split(',').map(kind).collect::<Result<_, _>>()).transpose()?;
        let devices = match (&self.device, &self.device_prefix) {
            (None, None) => Devices::All,
            (Some(id), None) => Devices::One(device("device", id)?),
            (None, Some(prefix)) => Devices::Prefix(device("devicePrefix", prefix)?),
            (Some(_), Some(_)) => return Err("either device or devicePrefix".to_owned()),
        };
        let position = |text: &String| text.parse::<ChangePosition>().map_err(|invalid| format!("from is {text:?}, but {invalid}"));
        let from = self.from.as_ref().map(position).transpose()?;
        Ok(Wanted::Changes(kinds, devices, Start { from, snapshot: self.snapshot }))
    }

    fn events(self) -> Result<WantedEvents, String> {
        let place = |text: String| text.parse::<StreamPosition>().map_err(|invalid| format!("after is {text:?}, but {invalid}"));
        Ok(WantedEvents {
            after: self.after.map(place).transpose()?,
            device: self.device.as_deref().map(|id| device("device", id)).transpose()?,
            from: self.from,
            partition: self.partition,
            property: self.property.filter(|property| !property.is_empty()),
            text: self.text.filter(|text| !text.is_empty()),
        })
    }
}

fn device(name: &str, id: &str) -> Result<DeviceId, String> {
    DeviceId::parse(id).map_err(|invalid| format!("{name} is {id:?}, but {invalid}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read() {
        let (id, request) = parse(
            r#"{"id":1,"subscribe":"changes","kinds":"presence, registry","devicePrefix":"p","from":"3-7","snapshot":false,"more":1}"#,
        )
        .unwrap();
        let Request::Subscribe(Wanted::Changes(kinds, devices, start)) = request else { panic!("{request:?}") };
        assert_eq!((id, kinds), (1, Some(vec![ChangeKind::Presence, ChangeKind::Registry])));
        assert_eq!(devices, Devices::Prefix(DeviceId::parse("p").unwrap()));
        assert_eq!((start.from.map(|from| from.to_string()), start.snapshot), (Some("3-7".to_owned()), Some(false)));
        let everything = parse(r#"{"id":2,"subscribe":"changes"}"#).unwrap().1;
        assert!(matches!(everything, Request::Subscribe(Wanted::Changes(None, Devices::All, Start { from: None, snapshot: None }))));
        assert!(matches!(parse(r#"{"id":4294967295,"unsubscribe":true}"#), Ok((u32::MAX, Request::Unsubscribe))));
        let tail =
            parse(r#"{"id":5,"subscribe":"events","after":"0:17","partition":3,"device":"D","property":"a=b","text":""}"#).unwrap().1;
        let Request::Subscribe(Wanted::Events(events)) = tail else { panic!("{tail:?}") };
        assert_eq!((events.partition, events.property.as_deref(), events.text), (Some(3), Some("a=b"), None));
    }

    #[test]
    fn what_can_not_be_is_said_of_its_subscription() {
        for text in ["", "[]", "7", "{}", r#"{"id":0,"subscribe":"rates"}"#, r#"{"id":-1}"#, r#"{"id":4294967296}"#, r#"{"id":"1"}"#] {
            assert_eq!(parse(text).unwrap_err(), RequestError::Unreadable, "{text}");
        }
        for (text, words) in [
            (r#"{"id":1}"#, "either subscribe or unsubscribe"),
            (r#"{"id":1,"subscribe":"rates","unsubscribe":true}"#, "either"),
            (r#"{"id":1,"subscribe":"weather"}"#, "weather"),
            (r#"{"id":1,"subscribe":7}"#, "can't be read"),
            (r#"{"id":1,"subscribe":"changes","kinds":"all"}"#, "no kind of change"),
            (r#"{"id":1,"subscribe":"changes","device":"a b"}"#, "device is"),
            (r#"{"id":1,"subscribe":"changes","device":"a","devicePrefix":"b"}"#, "either device"),
            (r#"{"id":1,"subscribe":"changes","from":"yesterday"}"#, "from is"),
            (r#"{"id":1,"subscribe":"events","after":"here"}"#, "after is"),
            (r#"{"id":1,"subscribe":"events","partition":-1}"#, "can't be read"),
        ] {
            let Err(RequestError::Invalid(1, why)) = parse(text) else { panic!("{text}") };
            assert!(why.contains(words), "{text}: {why}");
        }
    }
}
