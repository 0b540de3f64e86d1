use axum::body::Body;
use serde_json::json;

use crate::http::client::Client;

const FEEDBACK: &str = "/messages/serviceBound/feedback";

async fn ask(client: &Client, method: &str, end: &str) -> crate::http::client::Answer {
    client.service(method, &format!("{FEEDBACK}{end}?api-version=2021-04-12"), &[], Body::empty()).await
}

async fn settled(client: &Client, ack: &str, message_id: &str, end: &str) {
    client.send(&[("iothub-messageid", message_id), ("iothub-ack", ack)], "x").await;
    let delivery = client.receive().await.expect(200);
    client.device("DELETE", &format!("/devices/D/messages/deviceBound/{}{end}", delivery.lock_token()), &[]).await.expect(204);
}

#[tokio::test(start_paused = true)]
async fn receipts_come_together_and_leave_together() {
    let client = Client::new().await;
    ask(&client, "GET", "").await.expect(204);
    settled(&client, "full", "m-1", "").await;
    settled(&client, "negative", "unsaid", "").await;
    settled(&client, "negative", "m-2", "?reject").await;

    let answer = ask(&client, "GET", "").await.expect(200);
    let receipts = answer.json();
    assert_eq!(
        receipts,
        json!([
            {"originalMessageId": "m-1", "description": "Success", "deviceGenerationId": "1", "deviceId": "D",
             "enqueuedTimeUtc": receipts[0]["enqueuedTimeUtc"], "statusCode": "Success"},
            {"originalMessageId": "m-2", "description": "Rejected", "deviceGenerationId": "1", "deviceId": "D",
             "enqueuedTimeUtc": receipts[1]["enqueuedTimeUtc"], "statusCode": "Rejected"},
        ])
    );
    assert_eq!(receipts[0]["enqueuedTimeUtc"].as_str().unwrap().len(), "2026-11-23T03:00:00.0000000Z".len());
    assert_eq!(answer.header("content-type"), "application/vnd.microsoft.iothub.feedback.json");
    assert_eq!((answer.header("iothub-deliverycount"), answer.header("iothub-userid")), ("1", "hub.example"));
    ask(&client, "GET", "").await.expect(204);

    let token = answer.lock_token();
    ask(&client, "POST", &format!("/{token}/abandon")).await.expect(204);
    ask(&client, "POST", &format!("/{token}/abandon")).await.refused(412, "DeviceMessageLockLost", "");
    let again = ask(&client, "GET", "").await.expect(200);
    assert_eq!((again.json(), again.header("iothub-deliverycount")), (receipts, "2"));
    ask(&client, "DELETE", &format!("/{}", again.lock_token())).await.expect(204);
    ask(&client, "DELETE", &format!("/{}", again.lock_token())).await.refused(412, "DeviceMessageLockLost", "");
    ask(&client, "GET", "").await.expect(204);

    let history = client.get("/api/v1/commands?limit=1").await;
    let id = history["commands"][0]["id"].as_str().unwrap();
    let steps = client.get(&format!("/api/v1/commands/{id}")).await["steps"].clone();
    assert_eq!(steps.as_array().unwrap().last().unwrap()["step"], "ReceiptRead");
}

#[tokio::test(start_paused = true)]
async fn only_a_back_end_reads_receipts() {
    let client = Client::new().await;
    for policy in ["device", "registryReadWrite"] {
        client.policy(policy, "GET", FEEDBACK, &[], Body::empty()).await.expect(401);
        client.policy(policy, "DELETE", &format!("{FEEDBACK}/x"), &[], Body::empty()).await.expect(401);
        client.policy(policy, "POST", &format!("{FEEDBACK}/x/abandon"), &[], Body::empty()).await.expect(401);
    }
    ask(&client, "DELETE", "/nonsense").await.refused(412, "DeviceMessageLockLost", "the lock is lost");
}
