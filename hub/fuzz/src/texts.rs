//! Texts that strangers send: addresses, selectors, tokens, names and passwords, times.

use std::sync::OnceLock;

use fe2o3_amqp_types::messaging::FilterSet;
use fe2o3_amqp_types::primitives::Symbol;
use mooring_hub::amqp::address::Node;
use mooring_hub::amqp::filter::start_position;
use mooring_hub::amqp::sasl::Plain;
use mooring_hub::core::device_id::DeviceId;
use mooring_hub::core::host::HubNames;
use mooring_hub::core::identity::SymmetricKey;
use mooring_hub::core::sas::SasToken;
use mooring_hub::core::telemetry::parse_expiry;
use mooring_hub::core::time::UnixMillis;
use mooring_hub::mqtt::topic;
use serde_amqp::Value;
use serde_amqp::described::Described;
use serde_amqp::descriptor::Descriptor;

/// One text, which everybody who reads texts is shown.
///
/// # Panics
/// When a promise is broken.
pub fn text(data: &[u8]) {
    let (names, key) = known();
    let _ = Plain::parse(data, names);
    let _ = topic::telemetry("D", "devices/D/messages/events/", data);
    let Ok(text) = std::str::from_utf8(data) else { return };
    let _ = Node::parse(text);
    let _ = topic::telemetry("D", text, &[]);
    let _ = parse_expiry(text);
    let _ = start_position(Some(&selector(text)));
    if let Ok(time) = text.parse::<UnixMillis>() {
        let _ = time.to_string();
    }
    if let Ok(id) = DeviceId::parse(text) {
        assert_eq!(id.as_str(), text, "an id is kept as it is");
        let address = format!("/devices/{}/messages/events", id.as_str());
        assert!(matches!(Node::parse(&address), Some(Node::DeviceEvents(_))), "{address} leads nowhere");
    }
    if let Ok(token) = SasToken::parse(text) {
        assert!(!token.is_signed_with(key), "nobody signs by chance");
        let _ = (token.covers_device(names, "D"), token.covers_path(names, "devices/D"), token.resource());
        let _ = token.expired_for(UnixMillis(0));
    }
}

/// The filter of a reader with this selector.
fn selector(text: &str) -> FilterSet {
    const NAME: &str = "apache.org:selector-filter:string";
    let described = Described { descriptor: Descriptor::Name(Symbol::from(NAME)), value: Value::String(text.to_owned()) };
    FilterSet::from_iter([(Symbol::from(NAME), Value::Described(Box::new(described)))])
}

fn known() -> &'static (HubNames, SymmetricKey) {
    static KNOWN: OnceLock<(HubNames, SymmetricKey)> = OnceLock::new();
    KNOWN.get_or_init(|| {
        let key = SymmetricKey::from_bytes(vec![1; 32]).expect("a key has 16 to 64 bytes");
        (HubNames::new("hub.test", &["other.test".into()]), key)
    })
}
