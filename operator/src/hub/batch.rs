//! Many Devices' writes in few requests: what waits while a request is in flight goes together with the next one.
//!
//! Without anything in flight a write goes at once. Each caller gets its own row's answer; a row whose caller has gone is not sent.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

use super::client::{BulkAnswer, Client, HubError};
use super::identity::Identity;

/// The most rows of one request, as the API has it.
pub const ROWS_MAX: usize = 100;

/// The most writes that wait. Reconciles are fewer at a time; this is for the day when they are not.
const WAITING_MAX: usize = 1024;

/// A write, as the row of a bulk request.
#[derive(Debug)]
pub struct Row {
    /// Whose identity.
    pub device_id: String,
    /// The row, with its importMode and in whose name it comes.
    pub document: Value,
}

struct Waiting {
    row: Row,
    answer: oneshot::Sender<Result<Option<Identity>, HubError>>,
}

/// The way into the batches.
#[derive(Clone, Debug)]
pub struct Batch {
    rows: mpsc::Sender<Waiting>,
}

impl Batch {
    /// A way in, and what has to be run for anything to go out.
    pub fn new(client: Arc<Client>) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (rows, waiting) = mpsc::channel(WAITING_MAX);
        (Self { rows }, run(client, waiting))
    }

    /// Writes one row. Answers the identity as it is then; `None` when the row removed it.
    pub async fn write(&self, row: Row) -> Result<Option<Identity>, HubError> {
        let (answer, answered) = oneshot::channel();
        self.rows.try_send(Waiting { row, answer }).map_err(|_| HubError::Busy)?;
        // Without an answer the link has ended, and another one will be asked.
        answered.await.unwrap_or_else(|_| Err(HubError::Unreachable("the link has ended".to_owned())))
    }
}

async fn run(client: Arc<Client>, mut waiting: mpsc::Receiver<Waiting>) {
    let mut held_over = VecDeque::new();
    loop {
        if held_over.is_empty() {
            match waiting.recv().await {
                Some(first) => held_over.push_back(first),
                None => return,
            }
        }
        while held_over.len() < WAITING_MAX
            && let Ok(next) = waiting.try_recv()
        {
            held_over.push_back(next);
        }
        let group = gather(&mut held_over);
        if group.is_empty() {
            continue;
        }
        let documents: Vec<Value> = group.iter().map(|waiting| waiting.row.document.clone()).collect();
        let answer = client.bulk(&documents).await;
        let ids: Vec<&str> = group.iter().map(|waiting| waiting.row.device_id.as_str()).collect();
        let answers = share_out(&ids, answer);
        for (waiting, answer) in group.into_iter().zip(answers) {
            // Whoever does not wait any more looks at the identity again.
            let _ = waiting.answer.send(answer);
        }
    }
}

/// The rows of the next request: in order, and no identity twice, which the hub refuses.
fn gather(held_over: &mut VecDeque<Waiting>) -> Vec<Waiting> {
    let (mut group, mut later, mut ids) = (Vec::new(), VecDeque::new(), HashSet::new());
    while group.len() < ROWS_MAX
        && let Some(next) = held_over.pop_front()
    {
        if next.answer.is_closed() {
            continue;
        }
        if ids.insert(next.row.device_id.clone()) { group.push(next) } else { later.push_back(next) }
    }
    later.append(held_over);
    *held_over = later;
    group
}

/// Each row's answer, in the order of the rows.
fn share_out(ids: &[&str], answer: Result<BulkAnswer, HubError>) -> Vec<Result<Option<Identity>, HubError>> {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => return ids.iter().map(|_| Err(error.clone())).collect(),
    };
    let mut errors: HashMap<String, HubError> = answer
        .errors
        .into_iter()
        .map(|error| (error.device_id, HubError::Refused { status: 0, code: error.error_code, text: error.error_status }))
        .collect();
    let mut devices: HashMap<String, Identity> = answer.devices.into_iter().map(|device| (device.device_id.clone(), device)).collect();
    ids.iter()
        .map(|id| match errors.remove(*id) {
            Some(error) => Err(error),
            None => Ok(devices.remove(*id)),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    type Answered = oneshot::Receiver<Result<Option<Identity>, HubError>>;

    fn waiting(id: &str) -> (Waiting, Answered) {
        let (answer, answered) = oneshot::channel();
        (Waiting { row: Row { device_id: id.to_owned(), document: json!({}) }, answer }, answered)
    }

    proptest! {
        #[test]
        fn every_row_goes_once_in_order_and_no_id_twice_in_a_request(ids in proptest::collection::vec(0u8..150, 0..400)) {
            let (mut queue, answers): (VecDeque<Waiting>, Vec<Answered>) = ids.iter().map(|id| waiting(&id.to_string())).unzip();
            let mut gone: HashMap<String, usize> = HashMap::new();
            while !queue.is_empty() {
                let group = gather(&mut queue);
                prop_assert!(!group.is_empty() && group.len() <= ROWS_MAX);
                let distinct: HashSet<&str> = group.iter().map(|waiting| waiting.row.device_id.as_str()).collect();
                prop_assert_eq!(distinct.len(), group.len());
                group.iter().for_each(|waiting| *gone.entry(waiting.row.device_id.clone()).or_default() += 1);
            }
            prop_assert_eq!(gone.values().sum::<usize>(), ids.len());
            drop(answers);
        }
    }

    #[test]
    fn each_row_gets_its_own_answer_and_a_row_without_a_caller_is_not_sent() {
        let answer: BulkAnswer = serde_json::from_value(json!({
            "isSuccessful": false, "warnings": [],
            "errors": [{ "deviceId": "b", "errorCode": "PreconditionFailed", "errorStatus": "another etag" }],
            "devices": [{ "deviceId": "a", "etag": "1" }],
        }))
        .unwrap();
        let answers = share_out(&["a", "b", "c"], Ok(answer));
        assert_eq!(answers[0].as_ref().unwrap().as_ref().unwrap().etag, "1");
        assert!(answers[1].as_ref().unwrap_err().is_outdated());
        assert!(answers[2].as_ref().unwrap().is_none(), "removed");

        let ((kept, _caller), (left, gone)) = (waiting("a"), waiting("b"));
        drop(gone);
        let mut queue = VecDeque::from([left, kept]);
        let group = gather(&mut queue);
        assert_eq!((group.len(), group[0].row.device_id.as_str()), (1, "a"));
    }
}
