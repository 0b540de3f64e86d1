//! The words for the nouns of `core` in tables, so that a person with a SQL prompt can read them, and the way back.

use crate::core::audit::AuditAction;
use crate::core::command::{Outcome, ReceiptLoss, ReturnReason};
use crate::core::principal::Door;
use crate::core::session::{DisconnectReason, Protocol};

pub(super) fn outcome(word: &str) -> Result<Outcome, String> {
    find(&Outcome::ALL, Outcome::name, word).ok_or_else(|| format!("outcome {word:?}"))
}

pub(super) fn protocol(word: &str) -> Result<Protocol, String> {
    find(&Protocol::ALL, Protocol::name, word).ok_or_else(|| format!("protocol {word:?}"))
}

pub(super) fn disconnect_reason(word: &str) -> Result<DisconnectReason, String> {
    find(&DisconnectReason::ALL, DisconnectReason::name, word).ok_or_else(|| format!("disconnected because of {word:?}"))
}

pub(super) fn return_reason(word: &str) -> Result<ReturnReason, String> {
    find(&ReturnReason::ALL, ReturnReason::name, word).ok_or_else(|| format!("returned because of {word:?}"))
}

pub(super) fn receipt_loss(word: &str) -> Result<ReceiptLoss, String> {
    find(&ReceiptLoss::ALL, ReceiptLoss::name, word).ok_or_else(|| format!("receipt lost because of {word:?}"))
}

pub(super) fn door(word: &str) -> Result<Door, String> {
    find(&Door::ALL, Door::name, word).ok_or_else(|| format!("door {word:?}"))
}

pub(super) fn audit_action(word: &str) -> Result<AuditAction, String> {
    find(&AuditAction::ALL, AuditAction::name, word).ok_or_else(|| format!("action {word:?}"))
}

fn find<T: Copy>(all: &[T], name: fn(T) -> &'static str, word: &str) -> Option<T> {
    all.iter().copied().find(|&one| name(one) == word)
}
