//! Answers whose receivers are late, or gone.

use super::*;

impl Client {
    /// Brings a token that is no good, in some session, and hears no more of it than that it has come.
    async fn ask_cbs(&mut self, channel: u16, handle: u32, number: u32) {
        let request = put_token(Some(MessageId::Ulong(number.into())), HUB, "nonsense");
        self.send(&said(channel, &Performative::Transfer(delivery(handle, number)), &request)).await;
        loop {
            match self.heard().await {
                Some(Heard::Frame(heard, Performative::Disposition(said), _)) => {
                    assert_eq!((heard, said.first), (channel, number));
                    return;
                }
                Some(Heard::Frame(_, Performative::Flow(_), _)) => {}
                other => panic!("a disposition was due, not {other:?}"),
            }
        }
    }

    async fn answered(&mut self) -> MessageId<'static> {
        let (_, answer) = self.hear_transfer().await;
        match message::read(&answer).unwrap().properties.correlation_id {
            Some(MessageId::Ulong(id)) => MessageId::Ulong(id),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn answers_of_a_session_that_has_ended_keep_nobody_elses_from_coming() {
    let world = World::with_device("D").await;
    let mut client = Client::with_cbs(&world).await;
    client.send(&said(1, &Performative::Begin(Box::new(begin())), &[])).await;
    assert!(matches!(client.heard().await, Some(Heard::Frame(1, Performative::Begin(_), _))));
    client.send(&said(1, &Performative::Attach(Box::new(sender("$cbs", 0))), &[])).await;
    assert!(matches!(client.heard().await, Some(Heard::Frame(1, Performative::Attach(_), _))));
    assert!(matches!(client.heard().await, Some(Heard::Frame(1, Performative::Flow(_), _))));
    for number in 0..16 {
        client.ask_cbs(1, 0, number).await;
    }
    client.send(&said(1, &Performative::End(None), &[])).await;
    while !matches!(client.heard().await.unwrap(), Heard::Frame(1, Performative::End(None), _)) {}
    for _ in 0..3 {
        assert_eq!(client.put_token(HUB, "nonsense").await, 401);
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_asks_on_hears_the_latest_answers() {
    let world = World::with_device("D").await;
    let mut client = Client::open(&world).await;
    client.attach(sender("$cbs", 0)).await.unwrap();
    for number in 0..20 {
        client.ask_cbs(0, 0, number).await;
    }
    client.attach(receiver("$cbs", 1)).await.unwrap();
    client.say(&Performative::Flow(credit(1, 0, 3))).await;
    for number in 4..7 {
        assert_eq!(client.answered().await, MessageId::Ulong(number));
    }
    // The receiver goes with what it was to bring, and another gets what is asked from then on.
    client.say(&detach(1)).await;
    assert_eq!(client.detached().await.0, 1);
    client.attach(receiver("$cbs", 1)).await.unwrap();
    client.say(&Performative::Flow(Flow { delivery_count: Some(0), ..credit(1, 3, 9) })).await;
    client.ask_cbs(0, 0, 20).await;
    assert_eq!(client.answered().await, MessageId::Ulong(20));
}
