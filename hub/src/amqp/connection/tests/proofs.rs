//! Who somebody proves to be, and how.

use super::*;
use crate::core::certificate::CertificateFingerprint;
use crate::core::certificate::tests::made::{chain, params, self_signed};
use crate::core::identity::Authentication;

async fn sasl_code(client: &mut Client) -> SaslCode {
    assert_eq!(client.heard().await, Some(Heard::Header(Header::Sasl)));
    assert!(matches!(client.heard().await, Some(Heard::Sasl(_))), "the offer");
    let Some(Heard::Sasl(outcome)) = client.heard().await else { panic!("an outcome was due") };
    serde_amqp::from_slice::<SaslOutcome>(&outcome).unwrap().code
}

pub(super) async fn sasl(client: &mut Client, mechanism: &str, response: Option<&[u8]>) -> SaslCode {
    // As Java pipelines it.
    client.send(&[&Header::Sasl.header()[..], &sasl_init(mechanism, response)].concat()).await;
    sasl_code(client).await
}

#[tokio::test(start_paused = true)]
async fn every_mechanism_lets_in_whom_it_may() {
    let world = World::with_device("D").await;
    for mechanism in ["ANONYMOUS", "MSSBCBS"] {
        let mut client = Client::dial(&world);
        assert_eq!(sasl(&mut client, mechanism, None).await, SaslCode::Ok);
        client.begin(0).await;
        let refused = client.attach(sender(&events("D"), 0)).await.unwrap_err();
        assert_eq!(refused.condition, AmqpError::UnauthorizedAccess.into());
    }
    let token = long_token("D");
    for user in ["D@sas.hub", "D"] {
        let mut client = Client::dial(&world);
        assert_eq!(sasl(&mut client, "PLAIN", Some(format!("\0{user}\0{token}").as_bytes())).await, SaslCode::Ok, "{user}");
        client.begin(0).await;
        client.sender_of("D", 0).await;
        let id = client.transfer(0, &text("plain")).await;
        client.is_accepted(id).await;
    }
    let policys = policy_token(HUB, "device");
    for user in ["device@sas.root.hub", "device"] {
        let mut client = Client::dial(&world);
        assert_eq!(sasl(&mut client, "PLAIN", Some(format!("\0{user}\0{policys}").as_bytes())).await, SaslCode::Ok, "{user}");
        client.begin(0).await;
        client.sender_of("D", 0).await;
    }
    for (mechanism, response) in [
        ("EXTERNAL", None),
        ("OTHER", None),
        ("PLAIN", None),
        ("PLAIN", Some(format!("\0D@sas.other\0{token}"))),
        ("PLAIN", Some("\0D\0key".into())),
        ("PLAIN", Some(format!("\0service\0{}", key(1).expose_base64()))),
        ("PLAIN", Some(format!("\0nobody\0{}", key(100).expose_base64()))),
        ("PLAIN", Some(format!("\0device\0{}", key(100).expose_base64()))),
        ("PLAIN", Some(format!("\0D@sas.hub\0{}", key(1).expose_base64()))),
    ] {
        let mut client = Client::dial(&world);
        assert_eq!(sasl(&mut client, mechanism, response.as_deref().map(str::as_bytes)).await, SaslCode::Auth, "{mechanism}");
        assert!(client.rest().await.is_empty());
    }
}

/// As Node's SDK does it without SASL, and others with EXTERNAL.
#[tokio::test]
async fn a_certificate_speaks_for_its_device_alone() {
    let world = World::with_device("E").await;
    let own = self_signed(&params(&["D"]));
    let primary = Some(CertificateFingerprint::of(&own).thumbprint());
    let by_certificate = DeviceIdentity { authentication: Authentication::SelfSigned { primary, secondary: None }, ..identity("D") };
    world.write(Expected::Absent, Some(by_certificate)).await;
    for with_sasl in [false, true] {
        let mut client = Client::dial_with(&world, Some(chain(&[&own])));
        if with_sasl {
            assert_eq!(sasl(&mut client, "EXTERNAL", None).await, SaslCode::Ok);
        }
        client.begin(0).await;
        client.sender_of("D", 0).await;
        let id = client.transfer(0, &text("signed")).await;
        client.is_accepted(id).await;
        let refused = client.attach(sender(&events("E"), 1)).await.unwrap_err();
        assert_eq!(refused.condition, AmqpError::UnauthorizedAccess.into());
    }
}

#[tokio::test(start_paused = true)]
async fn tokens_are_judged_and_links_refused_without_one() {
    let world = World::with_device("D").await;
    world.write(Expected::Absent, Some(identity("E"))).await;
    let mut client = Client::with_cbs(&world).await;
    for (audience, token) in [
        ("hub.example/devices/D", device_token("D", 9)),
        ("hub.example%2Fdevices%2FE", device_token("D", 1)),
        ("hub.example/devices/nobody", device_token("nobody", 1)),
        ("hub.example", policy_token("other.example", "device")),
        ("hub.example", "nonsense".to_owned()),
    ] {
        assert_eq!(client.put_token(audience, &token).await, 401, "{audience}");
    }
    assert_eq!(client.put_token("hub.example%2Fdevices%2FD", &device_token("D", 1)).await, 200);
    for (attach, wanted) in [
        (sender(&events("E"), 3), ErrorCondition::from(AmqpError::UnauthorizedAccess)),
        (sender(&events("nobody"), 3), AmqpError::UnauthorizedAccess.into()),
        (receiver(&events("D"), 3), AmqpError::NotAllowed.into()),
        (sender(&devicebound("D"), 3), AmqpError::NotAllowed.into()),
        (sender("/nowhere", 3), AmqpError::NotFound.into()),
    ] {
        assert_eq!(client.attach(attach).await.unwrap_err().condition, wanted);
    }
    // What was refused took nothing with it.
    client.sender_of("D", 2).await;
    let id = client.transfer(2, &text("still there")).await;
    client.is_accepted(id).await;
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_no_token_is_answered() {
    let world = World::with_device("D").await;
    let mut client = Client::with_cbs(&world).await;
    let id = client.transfer(0, &text("no token")).await;
    let Some(Heard::Frame(_, Performative::Disposition(_), _)) = client.heard().await else { panic!("it was taken") };
    let (transfer, answer) = client.hear_transfer().await;
    let answer = message::read(&answer).unwrap();
    assert_eq!((id, transfer.handle, &answer.application_properties[0].1), (0, 1, &Value::Int(400)));
    client.transfer(0, b"nonsense").await;
    assert!(matches!(client.outcome().await, (1, 1, DeliveryState::Rejected(_))));
}

#[tokio::test(start_paused = true)]
async fn another_hub_is_not_here() {
    let world = World::new();
    let mut client = Client::dial(&world);
    let open = Open { container_id: "client".into(), hostname: Some("other.example".into()), ..Open::default() };
    client.send(&Header::Amqp.header()).await;
    client.say(&Performative::Open(Box::new(open))).await;
    assert_eq!(client.heard().await, Some(Heard::Header(Header::Amqp)));
    assert!(matches!(client.hear().await, Performative::Open(_)));
    let Performative::Close(error) = client.hear().await else { panic!("a close was due") };
    assert_eq!(condition(error), AmqpError::UnauthorizedAccess.into());
}
