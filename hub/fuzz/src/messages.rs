//! Messages: whatever a delivery holds is understood or refused, and what was understood is said and kept so that it is understood again.

use std::num::NonZeroU16;
use std::sync::OnceLock;

use mooring_hub::amqp::cbs::PutToken;
use mooring_hub::amqp::message::{self, BATCH_FORMAT, NoMessage};
use mooring_hub::core::device_id::DeviceId;
use mooring_hub::core::identity::{GenerationId, SymmetricKey};
use mooring_hub::core::message::Message;
use mooring_hub::core::message::encoding;
use mooring_hub::core::session::{Credential, DeviceRight, KeyFingerprint};
use mooring_hub::core::telemetry::{Occasion, Stamps, store};
use mooring_hub::core::time::UnixMillis;

/// A delivery of one message, or of a batch when the first byte is odd.
///
/// # Panics
/// When a promise is broken.
pub fn delivery(data: &[u8]) {
    let Some((kind, payload)) = data.split_first() else { return };
    let format = if kind % 2 == 1 { BATCH_FORMAT } else { 0 };
    // Whether there is something wrong with a later message of a batch is nothing to the earlier ones.
    let _ = message::read_each(format, payload, |message| {
        understood(message);
        Ok::<_, NoMessage>(())
    });
    // A journal that something else has written into.
    let _ = encoding::decode(payload);
    let _ = encoding::find_annotation(payload, "iothub-connection-device-id");
}

fn understood(mut message: Message<'_>) {
    let _ = PutToken::read(message.clone());
    let mut stored = Vec::new();
    if store(&mut message, Occasion::default(), stamps(), &mut stored).is_err() {
        return;
    }
    // What was taken from a device leaves as it came, from the disk as well.
    let kept = encoding::decode(&stored).unwrap_or_else(|error| panic!("{error}: {stored:02x?}"));
    assert_eq!(kept.annotations.len(), message.annotations.len() + 5, "each stamp is there");
    let (mut said, mut said_of_kept) = (Vec::new(), Vec::new());
    message::write(&message, &mut said);
    message::write(&Message { annotations: message.annotations.clone(), ..kept }, &mut said_of_kept);
    assert_eq!(said, said_of_kept);
    let heard = message::read(&said).unwrap_or_else(|error| panic!("{error}: {said:02x?}"));
    let mut again = Vec::new();
    message::write(&heard, &mut again);
    assert_eq!(said, again);
}

fn stamps() -> &'static Stamps {
    static STAMPS: OnceLock<Stamps> = OnceLock::new();
    STAMPS.get_or_init(|| {
        let key = SymmetricKey::from_bytes(vec![1; 32]).expect("a key has 16 to 64 bytes");
        let right = DeviceRight {
            device_id: DeviceId::parse("D").expect("a letter is an id"),
            generation_id: GenerationId("1".into()),
            credential: Credential::Policy { name: "device".into(), key: KeyFingerprint::of(&key) },
            good_until: UnixMillis(0),
        };
        Stamps::new(&right, NonZeroU16::MIN)
    })
}
