//! Commands over HTTPS: sent through the hub's own API, received and settled by Azure's Node device, receipts taken by Azure's Python
//! service, both unmodified; and what is refused.

use anyhow::{Result, ensure};
use e2e::commands::{BackEnd, step_names};
use e2e::connection_string::now_s;
use e2e::hub::Hub;
use e2e::namespace::isolated;
use e2e::program::{Actor, Program};
use e2e::rest::{Answer, Rest};
use reqwest::Method;
use serde_json::{Value, json};

const DEVICE: &str = "valve-1";

/// The hub's default queue depth, and Azure's.
const QUEUE_DEPTH: usize = 50;

/// How often the hub delivers a command by default, as Azure does.
const DELIVERIES: usize = 10;

/// The largest command, with its properties.
const COMMAND_LARGEST_BYTES: usize = 64 * 1024;

/// The policy `service`, on the port of the hub's own API.
fn own_api(hub: &Hub) -> Result<Rest> {
    Rest::api(hub, hub.policy("service")?)
}

/// Sends the device a command of which every receipt is wanted; answers its id.
async fn send(back_end: &BackEnd, message_id: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<String> {
    back_end.send(DEVICE, &[&[("iothub-messageid", message_id), ("iothub-ack", "full")], headers].concat(), body).await
}

/// So many seconds from now, in ISO 8601.
pub async fn in_seconds(seconds: i64) -> Result<String> {
    let time = i64::try_from(now_s())? + seconds;
    let printed = Program::named("date").args(["--utc", &format!("--date=@{time}"), "+%FT%TZ"]).output().await?;
    Ok(String::from_utf8(printed)?.trim().to_owned())
}

/// A device that settles by hand.
struct Device(Rest);

impl Device {
    fn of(hub: &Hub) -> Result<Self> {
        Ok(Self(Rest::new(hub, hub.device(DEVICE)?)?))
    }

    /// The next command, for which it asks until there is one.
    async fn receive(&self) -> Result<Answer> {
        loop {
            let answer = self.0.call(Method::GET, &format!("/devices/{DEVICE}/messages/deviceBound"), &[], Vec::new()).await?;
            if answer.status != 204 {
                return answer.expect(200);
            }
        }
    }

    async fn settle(&self, method: Method, delivery: &Answer, end: &str) -> Result<Answer> {
        let token = delivery.header("etag").trim_matches('"');
        self.0.call(method, &format!("/devices/{DEVICE}/messages/deviceBound/{token}{end}"), &[], Vec::new()).await
    }
}

fn node(hub: &Hub) -> Result<Actor> {
    Program::node("settle.js", hub)?.env("TRANSPORT", "http").env("IOTHUB_DEVICE_CONNECTION_STRING", hub.device(DEVICE)?.text).start()
}

/// Receipts as Python's SDK gets them: (message-id, status code), in order.
async fn receipts(hub: &Hub, count: usize, variables: &[(&str, &str)]) -> Result<(Vec<Value>, Vec<(String, String)>)> {
    let script = Program::python("feedback.py", hub)?.env("IOTHUB_CONNECTION_STRING", hub.policy("service")?.text);
    let script = variables.iter().fold(script.env("RECEIPTS", count.to_string()), |script, (name, value)| script.env(name, value));
    let (receipts, events): (Vec<_>, Vec<_>) = script.story().await?.into_iter().partition(|told| told["event"] == "receipt");
    for receipt in &receipts {
        ensure!(receipt["deviceId"] == DEVICE && receipt["description"] == receipt["statusCode"], "{receipt}");
        let time = receipt["enqueuedTimeUtc"].as_str().unwrap_or_default();
        ensure!(time.len() == "2026-11-23T03:00:00.0000000Z".len() && time.ends_with('Z'), "{receipt}");
    }
    let text = |receipt: &Value, field: &str| receipt[field].as_str().unwrap_or_default().to_owned();
    Ok((events, receipts.iter().map(|receipt| (text(receipt, "originalMessageId"), text(receipt, "statusCode"))).collect()))
}

fn same<T: PartialEq + std::fmt::Debug>(is: &T, wanted: &T) -> Result<()> {
    ensure!(is == wanted, "{is:?}\ninstead of\n{wanted:?}");
    Ok(())
}

#[test]
fn node_device_settles_commands_over_https() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&[DEVICE]).await?;
        let back_end = BackEnd::new(&hub)?;
        // The device sleeps when the first is sent.
        let headers = [
            ("iothub-correlationid", "c-1"),
            ("iothub-contenttype", "application/json"),
            ("iothub-app-Level", "high"),
            ("iothub-app-note", "50%+ & more"),
        ];
        let completed = send(&back_end, "m-1", &headers, b"{\"open\":true}").await?;
        let mut device = node(&hub)?;
        let received = device.until("received").await?;
        let to = format!("/devices/{DEVICE}/messages/devicebound");
        ensure!(received["to"].as_str().is_some_and(|told| told.eq_ignore_ascii_case(&to)), "{received}");
        same(
            &[&received["data"], &received["messageId"], &received["correlationId"]],
            &[&json!("{\"open\":true}"), &json!("m-1"), &json!("c-1")],
        )?;
        // Node's client leaves the prefix where it is, and its HTTP parser lowers names.
        same(&received["properties"], &json!({"iothub-app-level": "high", "iothub-app-note": "50%+ & more"}))?;
        device.tell("complete").await?;
        device.until("settled").await?;

        let rejected = send(&back_end, "m-2", &[], b"x").await?;
        device.until("received").await?;
        device.tell("reject").await?;
        device.until("settled").await?;

        let abandoned = send(&back_end, "m-3", &[], b"x").await?;
        device.until("received").await?;
        device.tell("abandon").await?;
        // That it comes again may be heard before the answer to the abandoning is.
        device.until("received").await?;
        device.tell("complete twice").await?;
        let refused = device.until("refused").await?;
        ensure!(
            refused["status"] == 412 && refused["body"].as_str().is_some_and(|body| body.contains("DeviceMessageLockLost")),
            "{refused}"
        );

        let (events, receipts) = receipts(&hub, 3, &[("ABANDON", "1")]).await?;
        ensure!(events.contains(&json!({"event": "again", "same": true})), "{events:?}");
        ensure!(events.contains(&json!({"event": "lock lost", "status": 412, "code": "DeviceMessageLockLost"})), "{events:?}");
        let told = |id: &str, code: &str| (id.to_owned(), code.to_owned());
        same(&receipts, &vec![told("m-1", "Success"), told("m-2", "Rejected"), told("m-3", "Success")])?;
        for (id, steps) in [
            (completed, &["Enqueued", "Delivered", "Completed", "ReceiptRead"][..]),
            (rejected, &["Enqueued", "Delivered", "Rejected", "ReceiptRead"]),
            (abandoned, &["Enqueued", "Delivered", "Returned", "Delivered", "Completed", "ReceiptRead"]),
        ] {
            same(&&step_names(&back_end.history(&id).await?)[..], &steps)?;
        }
        Ok(())
    })
}

#[test]
fn python_service_hears_of_every_outcome() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&[DEVICE]).await?;
        let (back_end, device, own_api) = (BackEnd::new(&hub)?, Device::of(&hub)?, own_api(&hub)?);
        send(&back_end, "taken", &[], b"x").await?;
        device.settle(Method::DELETE, &device.receive().await?, "").await?.expect(204)?;
        send(&back_end, "unwanted", &[], b"x").await?;
        device.settle(Method::DELETE, &device.receive().await?, "?reject").await?.expect(204)?;
        let tired = send(&back_end, "given-back", &[], b"x").await?;
        for count in 1..=DELIVERIES {
            let delivery = device.receive().await?;
            ensure!(delivery.header("iothub-deliverycount") == count.to_string(), "{:?}", delivery.headers);
            device.settle(Method::POST, &delivery, "/abandon").await?.expect(204)?;
        }
        let soon = in_seconds(2).await?;
        send(&back_end, "late", &[("iothub-expiry", &soon)], b"x").await?;
        let (_, told) = receipts(&hub, 4, &[]).await?;
        send(&back_end, "purged", &[], b"x").await?;
        let (events, last) = receipts(&hub, 1, &[("PURGE", DEVICE)]).await?;
        same(&events, &vec![json!({"event": "purged", "count": 1, "device": DEVICE})])?;
        let receipt = |id: &str, code: &str| (id.to_owned(), code.to_owned());
        same(
            &[told, last].concat(),
            &vec![
                receipt("taken", "Success"),
                receipt("unwanted", "Rejected"),
                receipt("given-back", "DeliveryCountExceeded"),
                receipt("late", "Expired"),
                receipt("purged", "Purged"),
            ],
        )?;

        // What is dead-lettered can be read, and goes out again as it was.
        let content = own_api.call(Method::GET, &format!("/api/v1/commands/{tired}/content"), &[], Vec::new()).await?.expect(200)?;
        ensure!(content.body == b"x" && content.header("content-disposition") == "attachment", "{content:?}");
        let again = format!("/api/v1/commands/{tired}/send-again");
        let again = own_api.call(Method::POST, &again, &[], Vec::new()).await?.expect(201)?.json()?;
        ensure!(again["againOf"] == tired.as_str() && again["messageId"] == "given-back", "{again}");
        let mut node = node(&hub)?;
        let received = node.until("received").await?;
        ensure!(received["messageId"] == "given-back" && received["data"] == "x", "{received}");
        node.tell("complete").await?;
        node.until("settled").await?;
        same(&receipts(&hub, 1, &[]).await?.1, &vec![receipt("given-back", "Success")])
    })
}

#[test]
fn commands_are_refused_with_azures_codes() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&[DEVICE]).await?;
        let back_end = BackEnd::new(&hub)?;
        let (past, far) = (in_seconds(-1).await?, in_seconds(3 * 24 * 60 * 60).await?);
        for (device, headers, bytes, status, code) in [
            ("nobody", &[][..], 1, 404, "DeviceNotFound"),
            (DEVICE, &[("iothub-expiry", past.as_str())], 1, 400, "ArgumentInvalid"),
            (DEVICE, &[("iothub-expiry", far.as_str())], 1, 403, "InvalidMessageExpiryTime"),
            (DEVICE, &[("iothub-ack", "often")], 1, 400, "ArgumentInvalid"),
            (DEVICE, &[], COMMAND_LARGEST_BYTES + 1, 413, "MessageTooLarge"),
            (DEVICE, &[], 1024 * 1024, 413, "MessageTooLarge"),
        ] {
            let answer = back_end.offer(device, headers, &vec![b'x'; bytes]).await?.expect(status)?;
            ensure!(answer.header("iothub-errorcode") == code, "{answer:?}");
        }
        back_end.offer(DEVICE, &[], &vec![b'x'; COMMAND_LARGEST_BYTES]).await?.expect(201)?;
        for _ in 1..QUEUE_DEPTH {
            back_end.offer(DEVICE, &[], b"x").await?.expect(201)?;
        }
        let answer = back_end.offer(DEVICE, &[], b"x").await?.expect(403)?;
        ensure!(answer.header("iothub-errorcode") == "DeviceMaximumQueueDepthExceeded", "{answer:?}");
        let identity = Rest::owner(&hub)?.device(DEVICE).await?;
        ensure!(identity["cloudToDeviceMessageCount"] == QUEUE_DEPTH, "{identity}");
        let path = format!("/api/v1/commands?device={DEVICE}&state=pending&limit=1000");
        let page = own_api(&hub)?.call(Method::GET, &path, &[], Vec::new()).await?.expect(200)?.json()?;
        ensure!(page["commands"].as_array().is_some_and(|commands| commands.len() == QUEUE_DEPTH), "{page}");

        // A lock that was asked to be short runs out, and is lost.
        let device = Device::of(&hub)?;
        let path = format!("/devices/{DEVICE}/messages/deviceBound");
        let short = device.0.call(Method::GET, &path, &[("iothub-messagelocktimeout", "5")], Vec::new()).await?.expect(200)?;
        ensure!(short.body.len() == COMMAND_LARGEST_BYTES, "{} bytes", short.body.len());
        loop {
            let next = device.receive().await?;
            let back = next.header("iothub-deliverycount") == "2";
            ensure!(!back || next.header("iothub-sequencenumber") == short.header("iothub-sequencenumber"), "{next:?}");
            device.settle(Method::DELETE, &next, "").await?.expect(204)?;
            if back {
                break;
            }
        }
        let late = device.settle(Method::DELETE, &short, "").await?.expect(412)?;
        ensure!(late.header("iothub-errorcode") == "DeviceMessageLockLost", "{late:?}");
        Ok(())
    })
}

#[test]
fn the_hubs_own_api_describes_itself() -> Result<()> {
    isolated(async || {
        let hub = Hub::start(&[]).await?;
        let url = format!("{}/openapi.json", hub.ready.endpoints.api);
        let output = Program::named("curl").args(["-sS", "--fail", "--cacert"]).arg(hub.ca_file()).arg(&url).output().await?;
        let document: Value = serde_json::from_slice(&output)?;
        ensure!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")), "{}", document["openapi"]);
        ensure!(document["paths"]["/api/v1/devices/{id}/commands"]["post"].is_object(), "{}", document["paths"]);
        Ok(())
    })
}
