//! Whose seat it is: epochs, five beside one another, rights, and who has to go.

use super::*;
use crate::core::consumer_group::ConsumerGroup;
use crate::ops::policies::replace_policies;
use crate::ops::world::event_hubs_token;

#[tokio::test(start_paused = true)]
async fn an_epoch_steals_from_those_below_it_and_its_equals() {
    let world = World::new();
    append_some(&world, 1);
    let (mut first, mut second) = (back_end(&world).await, back_end(&world).await);
    first.attach(reader(PARTITION, 2)).await.unwrap();
    first.grant(2, 0, 10).await;
    assert_eq!(first.event(2).await, 0);

    second.attach(with_epoch(0, reader(PARTITION, 2))).await.unwrap();
    assert_eq!(first.ended(2).await.condition, LinkError::Stolen.into());
    append_some(&world, 1);
    second.grant(2, 0, 10).await;
    assert_eq!(second.events(2, 2).await, [0, 1]);
    first.hears_nothing().await;

    let refused = first.not_read(reader(PARTITION, 2)).await;
    assert_eq!(refused.condition, LinkError::Stolen.into());
    first.attach(with_epoch(0, reader(PARTITION, 2))).await.unwrap();
    assert_eq!(second.ended(2).await.condition, LinkError::Stolen.into());
    second.attach(with_epoch(3, reader(PARTITION, 2))).await.unwrap();
    assert_eq!(first.ended(2).await.condition, LinkError::Stolen.into());
    let refused = first.not_read(with_epoch(2, reader(PARTITION, 2))).await;
    assert_eq!(refused.condition, LinkError::Stolen.into());
    assert!(refused.description.unwrap().contains("higher epoch '3'"));
    // Another partition, and another group, are not meant.
    first.attach(with_epoch(0, reader("hub/ConsumerGroups/$Default/Partitions/2", 3))).await.unwrap();

    // A reader that goes leaves its seat.
    second.say(&detach(2)).await;
    assert_eq!(second.detached().await.0, 2);
    first.attach(reader(PARTITION, 2)).await.unwrap();
    first.grant(2, 0, 1).await;
    assert_eq!(first.event(2).await, 0);
    drop(first);
}

#[tokio::test(start_paused = true)]
async fn five_read_beside_one_another_and_a_lost_connection_leaves_its_seats() {
    let world = World::new();
    world.hub.consumer_groups.replace(vec![ConsumerGroup::parse("Analytics").unwrap()]);
    let (mut client, mut other) = (back_end(&world).await, back_end(&world).await);
    for handle in 2..7 {
        client.attach(reader(PARTITION, handle)).await.unwrap();
    }
    let refused = other.not_read(reader(PARTITION, 2)).await;
    assert_eq!(refused.condition, AmqpError::ResourceLimitExceeded.into());
    other.attach(reader("hub/ConsumerGroups/analytics/Partitions/1", 2)).await.unwrap();
    let Client { stream, served, .. } = client;
    drop(stream);
    served.await.unwrap();
    other.attach(reader(PARTITION, 3)).await.unwrap();
    // A group that goes takes its readers with it.
    world.hub.consumer_groups.replace(Vec::new());
    assert_eq!(other.ended(2).await.condition, AmqpError::ResourceDeleted.into());
    other.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn who_is_not_let_in_is_told_why_and_takes_nobodys_seat() {
    let world = World::new();
    append_some(&world, 2);
    let (mut holder, mut client) = (back_end(&world).await, back_end(&world).await);
    holder.attach(with_epoch(0, reader(PARTITION, 2))).await.unwrap();
    let alone = |attach| with_epoch(1, attach);
    let selector = |text: &str| with_selector(text, alone(reader(PARTITION, 2)));
    for (attach, condition) in [
        (alone(reader("other/ConsumerGroups/$Default/Partitions/1", 2)), ErrorCondition::from(AmqpError::NotFound)),
        (alone(reader("hub/ConsumerGroups/nobody/Partitions/1", 2)), AmqpError::NotFound.into()),
        (selector("amqp.annotation.x-opt-offset > 'no offset'"), ErrorCondition::Custom("com.microsoft:argument-error".into())),
        (with_filter("jms-selector", Foreign::String("a = 1".into()), alone(reader(PARTITION, 2))), AmqpError::NotImplemented.into()),
    ] {
        assert_eq!(client.not_read(attach).await.condition, condition);
    }
    for (attach, condition) in [
        (alone(reader("hub/ConsumerGroups/$Default/Partitions/4", 2)), "com.microsoft:argument-out-of-range"),
        (alone(reader("hub/ConsumerGroups/$Default/Partitions/x", 2)), "com.microsoft:argument-out-of-range"),
        // The events it left off at are not the ones that are here.
        (selector("amqp.annotation.x-opt-offset > '2'"), "com.microsoft:argument-error"),
        (selector("amqp.annotation.x-opt-sequence-number >= '3'"), "com.microsoft:argument-error"),
        (with_property("com.microsoft:epoch", Foreign::String("1".into()), reader(PARTITION, 2)), "com.microsoft:argument-error"),
    ] {
        assert_eq!(custom(&client.not_read(attach).await), condition);
    }
    assert_eq!(client.attach(sender(PARTITION, 2)).await.unwrap_err().condition, AmqpError::NotAllowed.into());
    holder.hears_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_reader_has_its_right_by_a_token_that_covers_its_partition() {
    let world = World::with_device("D").await;
    let mut client = Client::with_cbs(&world).await;
    assert_eq!(client.not_read(reader(PARTITION, 2)).await.condition, AmqpError::UnauthorizedAccess.into());
    for (audience, token) in [
        ("sb://hub.example/hub/ConsumerGroups/$Default/Partitions/2", "service"),
        ("sb://hub.example/hub/ConsumerGroups/other", "service"),
        ("hub.example/devices", "service"),
    ] {
        assert_eq!(client.put_token(audience, &event_or_policy_token(audience, token)).await, 200, "{audience}");
        assert_eq!(client.not_read(reader(PARTITION, 2)).await.condition, AmqpError::UnauthorizedAccess.into(), "{audience}");
    }
    assert_eq!(client.put_token("hub.example", &policy_token("hub.example", "device")).await, 200);
    assert_eq!(client.not_read(reader(PARTITION, 2)).await.condition, AmqpError::UnauthorizedAccess.into());
    let audience = "sb://hub.example/hub/consumergroups/$Default";
    assert_eq!(client.put_token(audience, &event_or_policy_token(audience, "service")).await, 200);
    client.attach(reader(PARTITION, 2)).await.unwrap();
    // And by the narrow one, its own.
    client.attach(reader("hub/ConsumerGroups/$Default/Partitions/2", 3)).await.unwrap();
}

fn event_or_policy_token(resource: &str, policy: &str) -> String {
    if resource.starts_with("sb://") { event_hubs_token(resource, policy) } else { policy_token(resource, policy) }
}

#[tokio::test(start_paused = true)]
async fn a_reader_ends_with_its_right_and_nothing_more_leaves() {
    let world = World::new();
    append_some(&world, 1);
    let mut client = Client::with_cbs(&world).await;
    let audience = "sb://hub.example/hub";
    assert_eq!(client.put_token(audience, &event_hubs_token(audience, "service")).await, 200);
    client.attach(reader(PARTITION, 2)).await.unwrap();
    client.grant(2, 0, 10).await;
    assert_eq!(client.event(2).await, 0);
    world.clock.0.fetch_add(66_000, Ordering::Relaxed);
    tokio::time::advance(Duration::from_secs(66)).await;
    append_some(&world, 1);
    assert_eq!(client.ended(2).await.condition, AmqpError::UnauthorizedAccess.into());

    let mut client = back_end(&world).await;
    client.attach(with_selector(&format!("{OFFSET} > '@latest'"), reader(PARTITION, 2))).await.unwrap();
    client.grant(2, 0, 10).await;
    client.hears_nothing().await;
    let policies = world.hub.policies.current();
    let other = |policy: &crate::core::policy::Policy| crate::core::policy::Policy { primary: key(5), secondary: key(6), ..policy.clone() };
    replace_policies(&world.hub, policies.iter().map(other).collect());
    append_some(&world, 1);
    assert_eq!(client.ended(2).await.condition, AmqpError::UnauthorizedAccess.into());
}
